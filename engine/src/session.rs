//! One caller's questions.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use datafusion::common::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::{SendableRecordBatchStream, SessionState, SessionStateBuilder, TaskContext};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, execute_stream};
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use domain::{Error, ErrorKind, Principal, Result};
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::Shared;
use crate::analysis::{self, AnalysisPlanner, FunctionPlanner};
use crate::answer::{Answer, AnswerStream, Deadline, Message, within};
use crate::catalog::View;
use crate::derived::name_derived_tables;
use crate::error::query_error;
use crate::growth::{BoundGrowth, check_table_functions};
use crate::limits::{Limits, Meter, Summary};
use crate::sequence::{SequenceExec, SequenceUnions};
use crate::time_travel;
use crate::yielding::YieldBehindJoins;

/// The catalogue's name in SQL; tables are written `schema.table`.
pub(crate) const CATALOG: &str = "lake";

/// The schema of tables that are written without one.
const DEFAULT_SCHEMA: &str = "curated";

/// The longest question, in bytes.
const MAX_SQL_BYTES: usize = 256 << 10;

/// Operators and keywords of a question at most. Each may be a level of its plan: levels are walked by recursion, and some
/// rules take time by their square, in which a query cannot be stopped.
const MAX_OPERATORS: usize = 2_500;

/// Bytes of a text in a question at most: as an argument it is repeated for each row of a batch.
const MAX_LITERAL_BYTES: usize = 8 << 10;

/// Partitions of a scan below a tenant's plan: a file each, up to the most small files that a table should have.
const FILE_PARTITIONS: usize = 4_096;

/// Batches that wait for a reader who is slower than the query.
const BATCHES_WAITING: usize = 2;

/// Asks on behalf of one principal. Nothing is kept from one query to the next.
#[derive(Debug, Clone)]
pub struct Session {
    engine: Arc<Shared>,
    principal: Principal,
}

/// A query, ready to run.
struct Prepared {
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    as_of: BTreeMap<String, u64>,
}

impl Session {
    pub(crate) fn new(engine: Arc<Shared>, principal: Principal) -> Self {
        Self { engine, principal }
    }

    /// On whose behalf it asks.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Plans a query and begins to answer it. Dropping the answer, or this future, stops the work.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for SQL that is wrong, or more than reading; [`ErrorKind::NotFound`] for versions that cannot be read;
    /// [`ErrorKind::LimitExceeded`] when time or memory do not suffice, here or in the stream; errors of the tables as they are.
    pub async fn query(&self, sql: &str, limits: Limits) -> Result<Answer> {
        let begun = Instant::now();
        let deadline = limits.timeout.map(Deadline::after);
        if sql.len() > MAX_SQL_BYTES {
            return Err(Error::invalid(format!(
                "the query is longer than {MAX_SQL_BYTES} bytes: shorten it"
            )));
        }
        let (session, sql) = (self.clone(), sql.to_owned());
        let planning = self.engine.runtime.spawn(async move { session.prepare(&sql, limits).await });
        let prepared = within(deadline, planning.result()).await??;
        let schema = prepared.plan.schema();
        let as_of = prepared.as_of.clone();
        let (sender, messages) = mpsc::channel(BATCHES_WAITING);
        let principal = self.principal.clone();
        let worker = self.engine.runtime.spawn(async move {
            let answered = within(deadline, answer(&principal, prepared, limits, begun, &sender)).await;
            let last = answered.map_or_else(Message::Failed, Message::End);
            // A reader who is gone needs no end.
            let _ = sender.send(last).await;
        });
        let summary = Arc::new(OnceLock::new());
        let stream = AnswerStream::new(messages, worker, Arc::clone(&summary), deadline);
        Ok(Answer { schema, stream, as_of, summary })
    }

    async fn prepare(&self, sql: &str, limits: Limits) -> Result<Prepared> {
        let view = View::new(
            Arc::clone(&self.engine),
            self.principal.clone(),
            Arc::new(self.state(None, FILE_PARTITIONS)),
        );
        let state = self.state(Some(&view), self.partitions());
        let told = |error: DataFusionError| query_error(&self.principal, error);
        let dialect = state.config().options().sql_parser.dialect;
        check_tokens(sql)?;
        let mut statement = state.sql_to_statement(sql, &dialect).map_err(told)?;
        analysis::rewrite(&mut statement, self.principal == Principal::Operator)?;
        time_travel::rewrite(&mut statement)?;
        check_table_functions(&statement)?;
        name_derived_tables(&mut statement);
        let plan = state.statement_to_plan(statement).await.map_err(told)?;
        self.check(&plan)?;
        let context = SessionContext::new_with_state(state);
        let frame = Box::pin(context.execute_logical_plan(plan)).await.map_err(told)?;
        let (state, plan) = frame.into_parts();
        let plan = bounded(plan, limits).map_err(told)?;
        let plan = Box::pin(state.create_physical_plan(&plan)).await.map_err(told)?;
        Ok(Prepared { plan, context: state.task_ctx(), as_of: view.as_of() })
    }

    /// A tenant's plans have one partition: how several meet is a matter of timing. Its files are read in parallel below the plan.
    fn partitions(&self) -> usize {
        match self.principal {
            Principal::Operator => self.engine.settings.threads.get(),
            Principal::Tenant { .. } => 1,
        }
    }

    /// A state of DataFusion for one query. Without a view it serves to read files.
    fn state(&self, view: Option<&Arc<View>>, partitions: usize) -> SessionState {
        let is_operator = self.principal == Principal::Operator;
        let mut config = SessionConfig::new()
            .with_default_catalog_and_schema(CATALOG, DEFAULT_SCHEMA)
            .with_create_default_catalog_and_schema(false)
            .with_target_partitions(partitions);
        // A file is read where the plan says, so that rows come in the order of the files.
        config.options_mut().execution.enable_file_stream_work_stealing = is_operator;
        let builder =
            SessionStateBuilder::new().with_config(config).with_runtime_env(self.engine.environment());
        let Some(view) = view else { return builder.build() };
        let mut rules: Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> = PhysicalOptimizer::new().rules;
        rules.push(Arc::new(YieldBehindJoins));
        if !is_operator {
            rules.insert(0, Arc::new(SequenceUnions));
        }
        builder
            .with_default_features()
            .with_catalog_list(view.catalogs())
            .with_relation_planners(vec![Arc::new(FunctionPlanner)])
            .with_query_planner(Arc::new(AnalysisPlanner(Arc::clone(&self.engine.analyst))))
            .with_analyzer_rule(Arc::new(BoundGrowth))
            .with_physical_optimizer_rules(rules)
            .build()
    }

    /// Reading only; and for tenants nothing that tells how a query ran.
    fn check(&self, plan: &LogicalPlan) -> Result<()> {
        let read_only =
            SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        read_only.verify_plan(plan).map_err(|error| query_error(&self.principal, error))?;
        let told = match plan {
            _ if self.principal == Principal::Operator => return Ok(()),
            LogicalPlan::Analyze(_) => "EXPLAIN ANALYZE",
            LogicalPlan::Explain(explain) if explain.verbose => "EXPLAIN VERBOSE",
            _ => return Ok(()),
        };
        Err(Error::invalid(format!("{told} is the operator's: EXPLAIN shows the plan")))
    }
}

/// Refuses a question that is nested so deep that walking it would take a thread down (parentheses are counted by the parser), and literals so long
/// that repeating them for each row of a batch would take the memory of the process.
fn check_tokens(sql: &str) -> Result<()> {
    // What has no tokens is told by the parser.
    let Ok(tokens) = Tokenizer::new(&GenericDialect {}, sql).tokenize() else { return Ok(()) };
    let is_flat = |token: &&Token| match token {
        Token::Word(word) => word.keyword == Keyword::NoKeyword,
        Token::Whitespace(_)
        | Token::Comma
        | Token::Period
        | Token::LParen
        | Token::RParen
        | Token::Number(..)
        | Token::SingleQuotedString(_) => true,
        _ => false,
    };
    let operators = tokens.iter().filter(|token| !is_flat(token)).count();
    if tokens.iter().any(|token| token_bytes(token) > MAX_LITERAL_BYTES) {
        return Err(Error::invalid(format!(
            "a text in the query is longer than {MAX_LITERAL_BYTES} bytes: shorten it"
        )));
    }
    if operators > MAX_OPERATORS {
        return Err(Error::invalid(format!(
            "the query has {operators} operators and keywords, {MAX_OPERATORS} are the most: use IN or VALUES for lists"
        )));
    }
    Ok(())
}

/// Bytes of a text, however it is quoted.
fn token_bytes(token: &Token) -> usize {
    match token {
        Token::Whitespace(_) => 0,
        Token::SingleQuotedString(text) => text.len(),
        other => other.to_string().len(),
    }
}

/// The plan with one row more than may be given, so that a sort need not keep what nobody will see.
fn bounded(plan: LogicalPlan, limits: Limits) -> Result<LogicalPlan, DataFusionError> {
    let rows =
        limits.max_rows.and_then(|rows| usize::try_from(rows).ok()).and_then(|rows| rows.checked_add(1));
    match (&plan, rows) {
        (LogicalPlan::Explain(_) | LogicalPlan::Analyze(_), _) | (_, None) => Ok(plan),
        (_, Some(rows)) => LogicalPlanBuilder::from(plan).limit(0, Some(rows))?.build(),
    }
}

/// Runs a query to its end, or to a limit.
async fn answer(
    principal: &Principal,
    prepared: Prepared,
    limits: Limits,
    begun: Instant,
    sender: &mpsc::Sender<Message>,
) -> Result<Summary> {
    let told = |error: DataFusionError| query_error(principal, error);
    let mut rows = rows(principal, prepared).map_err(told)?;
    let mut meter = Meter::new(limits);
    while let Some(batch) = rows.next().await {
        let (admitted, cut) = meter.admit(&batch.map_err(told)?);
        if admitted.num_rows() > 0 && sender.send(Message::Rows(admitted)).await.is_err() {
            return Err(Error::new(ErrorKind::Cancelled, "nobody reads the answer"));
        }
        if cut.is_some() {
            return Ok(meter.summary(cut, begun.elapsed()));
        }
    }
    Ok(meter.summary(None, begun.elapsed()))
}

fn rows(principal: &Principal, prepared: Prepared) -> Result<SendableRecordBatchStream, DataFusionError> {
    let Prepared { plan, context, .. } = prepared;
    if *principal != Principal::Operator && plan.output_partitioning().partition_count() > 1 {
        return SequenceExec::new(plan).execute(0, context);
    }
    execute_stream(plan, context)
}
