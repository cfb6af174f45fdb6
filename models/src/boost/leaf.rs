//! The values of a leaf.

use domain::forecast::QUANTILES_PER_MILLE;

use super::{Config, MEAN, Target, VALUES};

/// Where the rows of a leaf lie beyond what was made so far: each weighted quantile of what is left, and its mean.
pub(super) fn values(
    rows: &[u32],
    target: &Target,
    made: &[[f32; VALUES]],
    config: &Config,
    room: &mut Vec<(f32, f32)>,
) -> [f32; VALUES] {
    let mut values = [0.0; VALUES];
    if rows.is_empty() {
        return values;
    }
    let step = config.rate * rows.len() as f32 / (rows.len() as f32 + config.shrink);
    let every = rows.len().div_ceil(config.leaf_rows.max(1));
    let some = rows.iter().step_by(every).map(|row| *row as usize);
    let weight: f32 = some.clone().map(|row| target.weight[row]).sum();
    for (at, per_mille) in QUANTILES_PER_MILLE.iter().enumerate() {
        room.clear();
        room.extend(some.clone().map(|row| (target.bent[row] - made[row][at], target.weight[row])));
        room.sort_unstable_by(|(a, _), (b, _)| a.total_cmp(b));
        let mut left = weight * f32::from(*per_mille) / 1_000.0;
        let reached = |(_, weight): &&(f32, f32)| {
            left -= weight;
            left <= 0.0
        };
        values[at] = step * room.iter().find(reached).or(room.last()).map_or(0.0, |(value, _)| *value);
    }
    let (mut left, mut sizes) = (0.0_f64, 0.0_f64);
    for row in rows {
        let row = *row as usize;
        left += f64::from(target.size[row] * (target.raw[row] - made[row][MEAN]));
        sizes += f64::from(target.size[row]);
    }
    values[MEAN] = if sizes > 0.0 { step * (left / sizes) as f32 } else { 0.0 };
    values
}
