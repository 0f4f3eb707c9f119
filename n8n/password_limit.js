// A limit on wrong passwords at the webhooks: an address that sent ten within a minute gets 429 until the oldest is a
// minute old, also for a right one. A request without a password is not counted: the health check sends none.
const FAILURES = 10, SECONDS = 60, MOST_ADDRESSES = 10000;

module.exports = class PasswordLimit {
  constructor(now = () => Date.now() / 1000) {
    this.now = now;
    this.failures = new Map();
  }

  // The seconds that an address has to wait.
  wait(address) {
    const found = this.failures.get(address) ?? [];
    return found.length < FAILURES ? 0 : Math.max(Math.ceil(found[0] + SECONDS - this.now()), 0);
  }

  note(address) {
    if (this.failures.size >= MOST_ADDRESSES && !this.failures.has(address)) {
      const old = this.now() - SECONDS;
      for (const [name, found] of this.failures) if (found.at(-1) <= old) this.failures.delete(name);
    }
    this.failures.set(address, [...(this.failures.get(address) ?? []), this.now()].slice(-FAILURES));
  }
};
