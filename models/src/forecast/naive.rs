//! The seasonal-naive forecast, and what a history says of its own size and kind.

/// Days of a season: a week.
pub(crate) const SEASON_DAYS: usize = 7;

/// The forecast `ahead` days after the last of `known`: the same weekday of the last known week, not below 0.
/// `None` with less than a week known.
pub(crate) fn seasonal_naive(known: &[f64], ahead: usize) -> Option<f64> {
    let week = known.last_chunk::<SEASON_DAYS>()?;
    Some(week[(ahead.max(1) - 1) % SEASON_DAYS].max(0.0))
}

/// Latest days that an article's usual error is taken from: it has to be that of the season, not of the year.
pub(crate) const SCALE_DAYS: usize = 56;

/// The usual error of a week ahead: the mean absolute one of the naive forecast for the latest [`SCALE_DAYS`]. `None` when there is no such day, or
/// all errors are 0.
pub(crate) fn scale(known: &[f64]) -> Option<f64> {
    let known = &known[known.len().saturating_sub(SCALE_DAYS + SEASON_DAYS)..];
    let later = known.get(SEASON_DAYS..).filter(|later| !later.is_empty())?;
    let sum: f64 = later.iter().zip(known).map(|(value, week_before)| (value - week_before).abs()).sum();
    let mean = sum / later.len() as f64;
    (mean > 0.0).then_some(mean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_week_is_repeated_and_returns_are_no_demand() {
        let known = [9.0, 1.0, 2.0, -3.0, 4.0, 5.0, 6.0, 7.0];
        let ahead: Vec<_> = (1..=9).map(|day| seasonal_naive(&known, day)).collect();
        assert_eq!(ahead, [1.0, 2.0, 0.0, 4.0, 5.0, 6.0, 7.0, 1.0, 2.0].map(Some));
        assert_eq!(seasonal_naive(&known[..6], 1), None);
    }

    #[test]
    fn the_scale_is_the_error_of_a_week_ahead_in_the_latest_days() {
        let mut known = [1.0; 9];
        assert_eq!(scale(&known), None);
        known[8] = 4.0;
        assert_eq!(scale(&known), Some(1.5));
        assert_eq!(scale(&known[..7]), None);
        let mut long = [0.0; 200];
        (long[100], long[199]) = (1e6, 112.0);
        assert_eq!(scale(&long), Some(2.0));
    }
}
