//! Classes of demand, by how often it comes and how much it differs.

/// How demand comes, after Syntetos and Boylan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum DemandClass {
    /// Often, in like amounts.
    Smooth,
    /// Often, in amounts that differ.
    Erratic,
    /// Seldom, in like amounts.
    Intermittent,
    /// Seldom, in amounts that differ.
    Lumpy,
}

/// Days from one demand to the next above which demand is seldom.
const SELDOM_INTERVAL_DAYS: f64 = 1.32;
/// Squared coefficient of variation above which amounts differ.
const DIFFERING_CV2: f64 = 0.49;

impl DemandClass {
    /// All of them, in the order of their numbers.
    pub(crate) const ALL: [Self; 4] = [Self::Smooth, Self::Erratic, Self::Intermittent, Self::Lumpy];

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Smooth => "smooth",
            Self::Erratic => "erratic",
            Self::Intermittent => "intermittent",
            Self::Lumpy => "lumpy",
        }
    }

    /// The class of a history. One without demand is intermittent.
    pub(crate) fn of(known: &[f64]) -> Self {
        let demands = || known.iter().copied().filter(|units| *units > 0.0);
        let count = demands().count() as f64;
        if count == 0.0 {
            return Self::Intermittent;
        }
        let mean = demands().sum::<f64>() / count;
        let cv2 = demands().map(|units| (units / mean - 1.0).powi(2)).sum::<f64>() / count;
        match (known.len() as f64 / count > SELDOM_INTERVAL_DAYS, cv2 > DIFFERING_CV2) {
            (false, false) => Self::Smooth,
            (false, true) => Self::Erratic,
            (true, false) => Self::Intermittent,
            (true, true) => Self::Lumpy,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demand_is_told_apart_by_how_often_and_how_much() {
        let every = |days: usize, amounts: &[f64]| -> Vec<f64> {
            let amount = |day: usize| amounts[day / days % amounts.len()];
            (0..60).map(|day| if day % days == 0 { amount(day) } else { 0.0 }).collect()
        };
        assert_eq!(DemandClass::of(&every(1, &[4.0, 5.0])), DemandClass::Smooth);
        assert_eq!(DemandClass::of(&every(1, &[1.0, 1.0, 90.0])), DemandClass::Erratic);
        assert_eq!(DemandClass::of(&every(5, &[4.0, 5.0])), DemandClass::Intermittent);
        assert_eq!(DemandClass::of(&every(5, &[1.0, 1.0, 90.0])), DemandClass::Lumpy);
        assert_eq!(DemandClass::of(&[0.0, -1.0]), DemandClass::Intermittent);
    }
}
