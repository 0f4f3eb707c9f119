"""Commands about what is due: due, reconcile."""

from __future__ import annotations

import click

from scripts.cli import options


@click.command()
@options.json_option
def due(as_json: bool) -> int:
    """Show what has to be loaded, validated and built now, and why; change nothing."""
    from scripts.cli.printing import show_due
    from scripts.planning.reconcile import examine

    return show_due(examine(options.start_run().store), as_json=as_json)


@click.command()
@options.json_option
def reconcile(as_json: bool) -> int:
    """Load, validate, build and publish what is due, or say what it waits for; cron can run it every few minutes."""
    from scripts.bronze.run import RECONCILE
    from scripts.cli.printing import show_reconciled
    from scripts.monitoring.digest import tell_health
    from scripts.monitoring.quarantine_digest import tell_quarantine
    from scripts.monitoring.report import refresh
    from scripts.planning.reconcile import reconcile as do_reconcile
    from scripts.portal.pages import refresh_portal

    started = options.start_run(RECONCILE)
    done = do_reconcile(started)
    if done.outcomes or done.build or done.error:
        refresh(started.store)
    if done.build and done.build.version:
        refresh_portal()
    tell_quarantine(started.store)
    tell_health(started.store)
    return show_reconciled(done, as_json=as_json)
