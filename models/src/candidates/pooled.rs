//! What models of many series share: how they look at them, and the scale on which they learn.

use super::Sight;
use crate::features::View;
use crate::panel::Settings;

/// Quantiles are learned on a bent scale, in levels: below this, values count by their difference; above, by their ratio.
pub(super) const BEND: f64 = 0.1;

/// No value is told that is more levels away from 0: what is, is a fault of the file, and sums of it would be no numbers.
pub(super) const MOST_LEVELS: f64 = 1e6;

/// How a model of some sight looks at its series.
pub(super) fn view(settings: &Settings, sight: Sight) -> View {
    let told_of_plans = sight != Sight::Alone;
    View {
        season: settings.season,
        horizon: settings.horizon,
        mask: settings.mask,
        by: if told_of_plans { settings.median_by.clone() } else { Vec::new() },
        around: settings.shift.clone(),
        known: told_of_plans,
        oracle: sight == Sight::Oracle,
    }
}

/// What an error of a level counts in scaled errors.
pub(super) fn size(level: f64, scale: f64) -> f32 {
    Some((level / scale) as f32).filter(|size| size.is_finite()).unwrap_or(1.0)
}

/// Levels on the bent scale.
pub(super) fn bent(levels: f64) -> f64 {
    (levels / BEND).asinh()
}

/// Levels of a value on the bent scale.
pub(super) fn unbent(value: f64) -> f64 {
    let most = bent(MOST_LEVELS);
    BEND * value.clamp(-most, most).sinh()
}
