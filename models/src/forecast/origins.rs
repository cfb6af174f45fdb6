//! Past origins: the days on which a forecast might have been made, and what each of them is used for.
//!
//! Origins lie a week apart, on the weekday of the last known day. The four latest with a whole horizon of known days behind them **judge**: on
//! them the error and the coverage are measured. Those before, up to a year, **calibrate**: their errors make the intervals. The horizon of
//! the latest calibrating origin ends on or before the first judging one. So no day that an interval is judged on had a part in its making, and
//! the intervals that are measured are the very ones that are served.

use super::naive::SEASON_DAYS;

/// Days between two origins.
pub(crate) const STEP_DAYS: usize = 7;
/// Origins that judge.
pub(crate) const EVALUATION_ORIGINS: usize = 4;
/// Origins that calibrate, at most: a year, so that every season has its part.
pub(crate) const CALIBRATION_ORIGINS: usize = 52;

/// The past origins of a series. Each is the index of the last day that was known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins {
    /// Those that judge, latest first.
    pub evaluation: Vec<usize>,
    /// Those that calibrate, latest first.
    pub calibration: Vec<usize>,
}

/// The origins of a series of `days` values, for a horizon in days.
#[must_use]
pub fn origins(days: usize, horizon_days: usize) -> Origins {
    let Some(latest) = days.checked_sub(1 + horizon_days) else { return Origins::default() };
    // A forecast needs one known season.
    let origin = |number: usize| latest.checked_sub(number * STEP_DAYS).filter(|day| day + 1 >= SEASON_DAYS);
    let first_calibration = EVALUATION_ORIGINS - 1 + horizon_days.div_ceil(STEP_DAYS);
    Origins {
        evaluation: (0..EVALUATION_ORIGINS).map_while(origin).collect(),
        calibration: (first_calibration..first_calibration + CALIBRATION_ORIGINS).map_while(origin).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn two_years_have_four_that_judge_and_a_year_that_calibrates() {
        let origins = origins(740, 28);
        assert_eq!(origins.evaluation, [711, 704, 697, 690]);
        assert_eq!((origins.calibration[0], origins.calibration.len()), (662, 52));
    }

    #[test]
    fn short_series_have_fewer_or_none() {
        assert_eq!(origins(34, 28), Origins::default());
        assert_eq!(origins(35, 28), Origins { evaluation: vec![6], calibration: vec![] });
        assert_eq!(origins(119, 28).calibration, [41, 34, 27, 20, 13, 6]);
        assert_eq!(origins(0, 28), Origins::default());
    }

    proptest! {
        #[test]
        fn days_that_judge_had_no_part_in_the_calibration(days in 0_usize..900, horizon in 1_usize..=365) {
            let origins = origins(days, horizon);
            let last_calibrated = origins.calibration.iter().map(|origin| origin + horizon).max();
            let first_judging = origins.evaluation.iter().min();
            if let (Some(calibrated), Some(judging)) = (last_calibrated, first_judging) {
                prop_assert!(calibrated <= *judging);
            }
            prop_assert!(origins.calibration.is_empty() || origins.evaluation.len() == EVALUATION_ORIGINS);
            for origin in origins.evaluation.iter().chain(&origins.calibration) {
                prop_assert!(origin + horizon < days && origin + 1 >= SEASON_DAYS);
            }
        }
    }
}
