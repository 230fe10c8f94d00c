"""weir.dev/v1alpha1: the custom resources, one file a kind."""

from weir.api.v1alpha1.datasource import DataSource
from weir.api.v1alpha1.pipeline import Pipeline
from weir.api.v1alpha1.pipelinerun import PipelineRun
from weir.api.v1alpha1.platform import Platform
from weir.api.v1alpha1.schema import DataSchema

KINDS = (Platform, DataSource, DataSchema, Pipeline, PipelineRun)

__all__ = ["KINDS", "DataSchema", "DataSource", "Pipeline", "PipelineRun", "Platform"]
