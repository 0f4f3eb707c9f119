(() => {
  // What is asked of the pipeline, and every problem of the request. A GET asks for progress, a POST for a backfill.
  const settings = $('Settings').first().json, problems = [];
  const problem = (field, message) => problems.push({ field: String(field).slice(0, 100), message });
  const isProgress = $('GET /webhook/backfill').isExecuted;
  const call = (isProgress ? $('GET /webhook/backfill') : $('POST /webhook/backfill')).first().json;
  const query = call.query ?? {};

  if (isProgress) {
    const id = query.id ?? '';
    if (typeof id !== 'string' || !/^[1-9][0-9]{0,8}$/.test(id)) problem('id', 'is missing or not a whole number');
    for (const name of Object.keys(query).filter((known) => known !== 'id').slice(0, 5)) {
      problem(name, 'is not a known field; the address takes only id');
    }
    return { problems, method: 'GET', path: `/pipeline/backfills/${id}`, body: {}, again: '', starts: false };
  }

  for (const name of Object.keys(query).slice(0, 5)) problem(name, 'stands in the address; put it into the body');
  const known = ['start_date', 'end_date', 'source', 'resources', 'reprocess', 'dry_run', 'wait', 'callback_url'];
  const type = String(call.headers?.['content-type'] ?? 'none').split(';')[0].trim().toLowerCase();
  const isObject = call.body !== null && typeof call.body === 'object' && !Array.isArray(call.body);
  const request = isObject ? call.body : {};
  if (type !== 'application/json') {
    problem('body', `has the content type ${type.slice(0, 60)}; send JSON as Content-Type: application/json`);
  } else if (!isObject) {
    problem('body', 'must be a JSON object with start_date and end_date');
  }
  const readable = problems.every(({ field }) => field !== 'body');

  const today = new Date().toISOString().slice(0, 10);
  const day = (field) => {
    const text = request[field] ?? '';
    if (!readable) return null;
    if (text === '') { problem(field, 'is required, as YYYY-MM-DD'); return null; }
    const moment = typeof text === 'string' && /^[0-9]{4}-[0-9]{2}-[0-9]{2}$/.test(text) ? Date.parse(`${text}T00:00:00Z`) : NaN;
    if (Number.isNaN(moment) || new Date(moment).toISOString().slice(0, 10) !== text) {
      problem(field, 'is not a date that exists, of the form YYYY-MM-DD');
      return null;
    }
    if (text > today) problem(field, `is in the future: today is ${today} (UTC)`);
    if (text < '1970-01-01') problem(field, 'is before 1970-01-01');
    return moment;
  };
  const start = day('start_date'), end = day('end_date');
  const days = start !== null && end !== null ? (end - start) / 86400000 + 1 : 0;
  if (start !== null && end !== null && days < 1) problem('end_date', 'is before start_date');
  if (days > settings.max_days) {
    problem('end_date', `makes a range of ${days} days; at most ${settings.max_days} are allowed`);
  }

  if (readable) {
    for (const field of ['dry_run', 'wait']) {
      if (typeof (request[field] ?? false) !== 'boolean') problem(field, 'is neither true nor false');
    }
    if (!['none', 'failed', 'completed'].includes(request.reprocess ?? 'none')) {
      problem('reprocess', 'is not one of none, failed, completed');
    }
    if (!/^[a-z][a-z0-9_]*$/.test(request.source ?? 'all')) problem('source', 'is not the name of a source');
    const resources = request.resources ?? [];
    if (!Array.isArray(resources) || !resources.every((name) => typeof name === 'string' && /^[a-z][a-z0-9_]*$/.test(name))) {
      problem('resources', 'is not a list of names of resources');
    } else if (resources.length > 0 && (request.source ?? null) === null) {
      problem('source', 'is required where resources are named');
    }
    const callback = request.callback_url ?? 'https://none';
    if (typeof callback !== 'string' || callback.length > 500 || !/^https?:[/][/][^\s@]+$/.test(callback)) {
      problem('callback_url', 'is not an address that begins with https:// or http://, without a user');
    }
    for (const field of Object.keys(request).filter((name) => !known.includes(name)).slice(0, 5)) {
      problem(field, `is not a known field; known are ${known.join(', ')}`);
    }
  }

  const body = {
    start_date: request.start_date,
    end_date: request.end_date,
    source: request.source ?? null,
    resources: request.resources ?? [],
    reprocess: request.reprocess ?? 'none',
    dry_run: request.dry_run === true,
    wait: request.wait === true,
    callback_url: request.callback_url ?? null,
  };
  const resources = Array.isArray(body.resources) ? body.resources.join(',') : '';
  const source = body.source === null ? '' : `&source=${body.source}`;
  const key = `start_date=${body.start_date}&end_date=${body.end_date}&reprocess=${body.reprocess}${source}&resources=${resources}`;
  return {
    problems, method: 'POST', path: '/pipeline/backfills', body, again: `/pipeline/backfills?${key}`, starts: !body.dry_run,
  };
})()
