//! Runs of decisions into `marts.risk_scores` and `marts.recommendations`, as forecasts are written ([`crate::runs`]).

use async_trait::async_trait;
use domain::decision::DecisionRun;
use domain::ports::{DecisionSink, WrittenDecisions};
use domain::{Error, Result};

use crate::lake::Lake;
use crate::runs::write_run;
use crate::tables;

const DECISION_VERSION: &str = "decision_version";

#[async_trait]
impl DecisionSink for Lake {
    async fn write_decisions(&self, run: DecisionRun) -> Result<WrittenDecisions> {
        check(&run)?;
        let version = run.decision_version.clone();
        let build = tokio::task::spawn_blocking(move || {
            Ok::<_, Error>((tables::risk_rows(&run)?, tables::recommendation_rows(&run)?))
        });
        let (risks, recommendations) =
            build.await.map_err(|error| Error::internal(format!("rows of decisions: {error}")))??;
        let write = async |table: tables::TableDefinition, rows| {
            write_run(self.table(&table.qualified_name())?, DECISION_VERSION, version.clone(), rows).await
        };
        let risks = if risks.is_empty() { None } else { Some(write(tables::risk_scores(), risks).await?) };
        let recommendations = write(tables::recommendations(), recommendations).await?;
        Ok(WrittenDecisions { risks, recommendations })
    }
}

/// What no reader should have to expect is refused at the door: figures that are no numbers.
fn check(run: &DecisionRun) -> Result<()> {
    if run.recommendations.is_empty() {
        return Err(Error::invalid("a run without recommendations: there is nothing to write"));
    }
    let unsound = |what: &str, store: &str, sku: &str| {
        Err(Error::invalid(format!(
            "the {what} of {}, {sku} in {store}, has figures that are not finite",
            run.tenant
        )))
    };
    for of in &run.recommendations {
        let Some(plan) = &of.plan else { continue };
        let figures = [
            plan.on_hand,
            plan.on_order,
            plan.lead_time_demand,
            plan.cover_demand,
            plan.reorder_point,
            plan.order_up_to,
            plan.stock_out_before,
            plan.stock_out_with,
            plan.stock_out_without,
            plan.expected_profit,
            plan.marginal_profit,
        ];
        if !figures.iter().all(|figure| figure.is_finite()) {
            return unsound("recommendation", &of.store, &of.sku);
        }
    }
    for risk in &run.risks {
        let is_sound = (0.0..=1.0).contains(&risk.score) && risk.at_stake.is_none_or(f64::is_finite);
        if !is_sound {
            return unsound("risk", &risk.store, &risk.sku);
        }
    }
    Ok(())
}
