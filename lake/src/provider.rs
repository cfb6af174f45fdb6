//! A table as query engines see it: a plain Parquet scan over the files of one version, with the statistics that Delta keeps.
//!
//! Delta's statistics are inexact (instants are cut to milliseconds, decimals may have passed through floats), so only row counts are given as
//! exact; bounds are widened and used to leave files out, never to answer.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_array::types::Date32Type;
use arrow_array::{ArrayRef, BooleanArray};
use arrow_schema::{DataType, Field, SchemaRef, TimeUnit};
use async_trait::async_trait;
use chrono::DateTime;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::stats::Precision;
use datafusion::common::{
    Column, ColumnStatistics, DataFusionError, Result as DfResult, ScalarValue, Statistics,
};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::object_store::ObjectMeta;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use serde_json::{Map, Value};
use url::Url;

use crate::log::{ActiveFile, Log};
use crate::tables::{PERIOD, TableDefinition};

/// One version of a table, ready to be scanned.
#[derive(Debug)]
pub(crate) struct DeltaProvider {
    table_schema: TableSchema,
    files: Vec<Arc<ActiveFile>>,
    url: Url,
}

impl DeltaProvider {
    /// The table as a state has it.
    pub(crate) fn new(definition: &TableDefinition, log: &Log, url: Url) -> Self {
        Self::of_files(definition, log.files().values().cloned().collect(), url)
    }

    /// Some files of the table.
    pub(crate) fn of_files(definition: &TableDefinition, files: Vec<Arc<ActiveFile>>, url: Url) -> Self {
        let file_schema = domain::table::arrow_schema(&definition.columns);
        let partitions = definition.partition_columns().into_iter();
        let partitions: Vec<_> =
            partitions.map(|name| Arc::new(Field::new(name, DataType::Utf8, true))).collect();
        let table_schema = TableSchema::builder(file_schema).with_table_partition_cols(partitions).build();
        Self { table_schema, files, url }
    }

    /// The same table of the files for which `of_first` is true, and of the others.
    pub(crate) fn partitioned(self, of_first: impl Fn(&ActiveFile) -> bool) -> (Self, Self) {
        let (first, others) = self.files.into_iter().partition(|file| of_first(file));
        let of = |files| Self { table_schema: self.table_schema.clone(), files, url: self.url.clone() };
        (of(first), of(others))
    }

    /// Whether it has no file.
    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    fn partitioned_file(&self, file: &ActiveFile) -> DfResult<PartitionedFile> {
        let url = self.url.join(&file.path).map_err(|error| DataFusionError::External(Box::new(error)))?;
        let path = object_store::path::Path::from_url_path(url.path())?;
        let mut part = PartitionedFile::new_from_meta(ObjectMeta {
            location: path,
            last_modified: DateTime::from_timestamp_millis(file.modified_ms).unwrap_or_default(),
            size: file.size_bytes,
            e_tag: None,
            version: None,
        });
        if !file.period.is_empty() {
            part.partition_values = vec![ScalarValue::Utf8(Some(file.period.clone()))];
        }
        part.statistics = Some(Arc::new(self.statistics_of(file)));
        Ok(part)
    }

    /// [`TableProvider::scan`] with so many partitions.
    pub(crate) fn scan_in(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
        partitions: usize,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let mut files =
            self.files.iter().map(|file| self.partitioned_file(file)).collect::<DfResult<Vec<_>>>()?;
        let mut source = ParquetSource::new(self.table_schema.clone());
        if let Some(filter) = conjunction(filters.iter().cloned()) {
            let schema = datafusion::common::DFSchema::try_from(self.schema())?;
            let predicate = state.create_physical_expr(filter, &schema)?;
            self.prune(&predicate, &mut files);
            source = source.with_predicate(predicate);
        }
        if files.is_empty() {
            let schema = datafusion::common::project_schema(&self.schema(), projection)?;
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let groups = FileGroup::new(files).split_files(partitions.max(1));
        let config = FileScanConfigBuilder::new(
            ObjectStoreUrl::parse(&self.url[..url::Position::BeforePath])?,
            Arc::new(source),
        )
        .with_file_groups(groups)
        .with_projection_indices(projection.cloned())?
        .with_limit(limit.filter(|_| filters.is_empty()))
        .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    /// Leaves out files that cannot hold a row for which `predicate` is true. A predicate that says nothing about bounds, or fails on them, prunes
    /// nothing: whether it fails is for the rows to decide.
    fn prune(&self, predicate: &Arc<dyn PhysicalExpr>, files: &mut Vec<PartitionedFile>) {
        let schema = self.schema();
        let builder = PruningPredicateBuilder::new().with_file_schema(Arc::clone(&schema));
        let Some(pruning) = builder.build(Arc::clone(predicate)) else { return };
        let statistics = files.iter().filter_map(|file| file.statistics.clone()).collect();
        let Ok(kept) = pruning.prune(&FileBounds { schema, statistics }) else { return };
        let mut kept = kept.into_iter();
        files.retain(|_| kept.next().unwrap_or(true));
    }

    /// Statistics in the order of the table's columns, the partition column last.
    fn statistics_of(&self, file: &ActiveFile) -> Statistics {
        let schema = self.table_schema.table_schema();
        let stats: Value =
            file.stats.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let object = |name: &str| stats.get(name).and_then(Value::as_object).cloned().unwrap_or_default();
        let (low, high) = (object("minValues"), object("maxValues"));
        let bound = |of: &Map<String, Value>, field: &Field, is_max: bool| {
            let value = of.get(field.name()).and_then(|value| scalar(value, field.data_type(), is_max));
            value.map_or(Precision::Absent, Precision::Inexact)
        };
        let columns = schema.fields().iter().map(|field| {
            let mut column = ColumnStatistics::new_unknown();
            if field.name() == PERIOD {
                column.min_value = Precision::Exact(ScalarValue::Utf8(Some(file.period.clone())));
                column.max_value = column.min_value.clone();
            } else {
                column.min_value = bound(&low, field, false);
                column.max_value = bound(&high, field, true);
            }
            column
        });
        let rows =
            stats.get("numRecords").and_then(Value::as_u64).and_then(|rows| usize::try_from(rows).ok());
        Statistics {
            num_rows: rows.map_or(Precision::Absent, Precision::Exact),
            total_byte_size: Precision::Absent,
            column_statistics: columns.collect(),
        }
    }
}

/// What is known of files before they are opened: bounds that may be wider than what lies in them.
struct FileBounds {
    schema: SchemaRef,
    /// One for each file, columns as in the schema.
    statistics: Vec<Arc<Statistics>>,
}

impl FileBounds {
    fn bounds(
        &self,
        column: &Column,
        of: impl Fn(&ColumnStatistics) -> &Precision<ScalarValue>,
    ) -> Option<ArrayRef> {
        let (at, field) = self.schema.column_with_name(column.name())?;
        let unknown = ScalarValue::try_from(field.data_type()).ok()?;
        let bounds = self.statistics.iter().map(|file| {
            let known = file.column_statistics.get(at).and_then(|column| of(column).get_value());
            known.unwrap_or(&unknown).clone()
        });
        ScalarValue::iter_to_array(bounds).ok()
    }
}

impl PruningStatistics for FileBounds {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(column, |statistics| &statistics.min_value)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(column, |statistics| &statistics.max_value)
    }

    fn num_containers(&self) -> usize {
        self.statistics.len()
    }

    fn null_counts(&self, _column: &Column) -> Option<ArrayRef> {
        None
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        None
    }

    fn contained(&self, _column: &Column, _values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}

/// A bound from Delta's JSON; types whose JSON form may have been rounded by other engines have none here.
fn scalar(value: &Value, data_type: &DataType, is_max: bool) -> Option<ScalarValue> {
    match data_type {
        DataType::Utf8 => value.as_str().map(|text| ScalarValue::Utf8(Some(text.to_owned()))),
        DataType::Int32 => {
            value.as_i64().and_then(|v| i32::try_from(v).ok()).map(|v| ScalarValue::Int32(Some(v)))
        }
        DataType::Int64 => value.as_i64().map(|v| ScalarValue::Int64(Some(v))),
        DataType::Boolean => value.as_bool().map(|v| ScalarValue::Boolean(Some(v))),
        DataType::Date32 => {
            let date: chrono::NaiveDate = value.as_str()?.parse().ok()?;
            Some(ScalarValue::Date32(Some(Date32Type::from_naive_date(date))))
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let instant = DateTime::parse_from_rfc3339(value.as_str()?).ok()?.timestamp_micros();
            let widened = if is_max { instant.checked_add(1_000)? } else { instant };
            Some(ScalarValue::TimestampMicrosecond(Some(widened), zone.clone()))
        }
        _ => None,
    }
}

#[async_trait]
impl TableProvider for DeltaProvider {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.table_schema.table_schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DfResult<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        self.scan_in(state, projection, filters, limit, state.config().target_partitions())
    }
}
