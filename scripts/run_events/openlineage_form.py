"""The form of run events in OpenLineage, by the classes of its client."""

from __future__ import annotations

import datetime as dt
import functools
import importlib.metadata
from typing import TYPE_CHECKING, Any

from openlineage.client import event_v2, facet_v2

from scripts.security.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scripts.run_events.run_event import Dataset, RunEvent

_PRODUCER = "urn:data-pipeline:"
_INTEGRATION = "DATA_PIPELINE"


def to_openlineage(event: RunEvent, namespace: str) -> event_v2.RunEvent:
    """Return the event as OpenLineage's client sends it; `namespace` is that of all jobs."""
    return event_v2.RunEvent(
        eventTime=_moment(event.at),
        producer=f"{_PRODUCER}{_version()}",
        eventType=event_v2.RunState(event.state),
        run=event_v2.Run(event.task.run_id, _with_producer(_run_facets(event, namespace))),
        job=event_v2.Job(namespace, event.task.job, _with_producer(_job_facets(event))),
        inputs=[_input(dataset) for dataset in event.inputs],
        outputs=[_output(dataset) for dataset in event.outputs],
    )


def _run_facets(event: RunEvent, namespace: str) -> dict[str, Any]:
    parent, root = event.parents[0], event.parents[-1]
    found: dict[str, Any] = {
        "parent": facet_v2.parent_run.ParentRunFacet(
            run=facet_v2.parent_run.Run(parent.run_id),
            job=facet_v2.parent_run.Job(namespace, parent.job),
            root=facet_v2.parent_run.Root(
                facet_v2.parent_run.RootRun(root.run_id), facet_v2.parent_run.RootJob(namespace, root.job)
            ),
        ),
        "processing_engine": facet_v2.processing_engine_run.ProcessingEngineRunFacet(_version(), "data-pipeline"),
        "tags": facet_v2.tags_run.TagsRunFacet(
            [
                facet_v2.tags_run.TagsRunFacetFields(key, redact(value), _INTEGRATION)
                for key, value in event.tags.items()
            ]
        ),
    }
    if event.day is not None:
        start = dt.datetime.combine(event.day, dt.time(), dt.UTC)
        found["nominalTime"] = facet_v2.nominal_time_run.NominalTimeRunFacet(
            _moment(start), _moment(start + dt.timedelta(days=1))
        )
    if event.error:
        found["errorMessage"] = facet_v2.error_message_run.ErrorMessageRunFacet(redact(event.error), "PYTHON")
    return found


def _job_facets(event: RunEvent) -> dict[str, Any]:
    found: dict[str, Any] = {
        "jobType": facet_v2.job_type_job.JobTypeJobFacet("BATCH", _INTEGRATION, event.job_type),
    }
    if event.description:
        found["documentation"] = facet_v2.documentation_job.DocumentationJobFacet(event.description)
    return found


def _input(dataset: Dataset) -> event_v2.InputDataset:
    found: dict[str, Any] = {}
    if dataset.rows is not None:
        found["inputStatistics"] = facet_v2.input_statistics_input_dataset.InputStatisticsInputDatasetFacet(
            rowCount=dataset.rows, size=dataset.bytes
        )
    if dataset.checks:
        found["dataQualityMetrics"] = facet_v2.data_quality_metrics_input_dataset.DataQualityMetricsInputDatasetFacet(
            columnMetrics={}, rowCount=dataset.rows
        )
        found["dataQualityAssertions"] = facet_v2.data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet(
            [
                facet_v2.data_quality_assertions_dataset.Assertion(
                    assertion=check.kind,
                    success=check.passed,
                    column=check.column or None,
                    severity=check.severity or None,
                    name=check.name,
                    actual=None if check.rows is None else str(check.rows),
                )
                for check in dataset.checks
            ]
        )
    facets = _with_producer(_dataset_facets(dataset))
    return event_v2.InputDataset(dataset.namespace, dataset.name, facets=facets, inputFacets=_with_producer(found))


def _output(dataset: Dataset) -> event_v2.OutputDataset:
    found: dict[str, Any] = {}
    if dataset.rows is not None:
        found["outputStatistics"] = facet_v2.output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
            rowCount=dataset.rows, size=dataset.bytes
        )
    facets = _with_producer(_dataset_facets(dataset))
    return event_v2.OutputDataset(dataset.namespace, dataset.name, facets=facets, outputFacets=_with_producer(found))


def _dataset_facets(dataset: Dataset) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if dataset.description:
        found["documentation"] = facet_v2.documentation_dataset.DocumentationDatasetFacet(dataset.description)
    if dataset.owner:
        owner = facet_v2.ownership_dataset.Owner(dataset.owner)
        found["ownership"] = facet_v2.ownership_dataset.OwnershipDatasetFacet([owner])
    if dataset.file_format:
        found["storage"] = facet_v2.storage_dataset.StorageDatasetFacet("file", dataset.file_format)
    if dataset.version:
        found["version"] = facet_v2.dataset_version_dataset.DatasetVersionDatasetFacet(dataset.version)
    if dataset.fields:
        found["schema"] = facet_v2.schema_dataset.SchemaDatasetFacet(
            [
                facet_v2.schema_dataset.SchemaDatasetFacetFields(
                    field.name, field.type or None, field.description or None
                )
                for field in dataset.fields
            ]
        )
    if tags := [
        facet_v2.tags_dataset.TagsDatasetFacetFields("sensitive", field.sensitive, _INTEGRATION, field.name)
        for field in dataset.fields
        if field.sensitive
    ]:
        found["tags"] = facet_v2.tags_dataset.TagsDatasetFacet(tags)
    if dataset.origins:
        found["columnLineage"] = facet_v2.column_lineage_dataset.ColumnLineageDatasetFacet(_lineage(dataset))
    return found


def _lineage(dataset: Dataset) -> dict[str, facet_v2.column_lineage_dataset.Fields]:
    return {
        column: facet_v2.column_lineage_dataset.Fields(
            [
                facet_v2.column_lineage_dataset.InputField(
                    origin.namespace,
                    origin.dataset,
                    origin.field,
                    [facet_v2.column_lineage_dataset.Transformation("DIRECT", origin.kind)],
                )
                for origin in origins
            ]
        )
        for column, origins in dataset.origins.items()
    }


def _with_producer(facets: Mapping[str, Any]) -> dict[str, Any]:
    for facet in facets.values():
        facet._producer = f"{_PRODUCER}{_version()}"  # noqa: SLF001 — the name in the standard
    return dict(facets)


@functools.cache
def _version() -> str:
    return importlib.metadata.version("data-pipeline")


def _moment(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
