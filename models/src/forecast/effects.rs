//! What the mean of each article and day is made of.
//!
//! The model is asked again for days whose plans are taken away one after the other: what is forecast of their weather, then promotions, then what happens on them.
//! An effect is what it forecasts with, less what it forecasts without. What is left at the end is a plain day, which is parted into the level of the last
//! year, the level of the horizon beside that, and the day beside that one.

use domain::forecast::{DayWeather, Effects, PlannedDay};

use super::business::Business;
use super::leaf::{HISTORY_DAYS, Leaf};
use crate::candidates::{Answer, Asked, Chosen, Members};

const SEASON_DAYS: usize = 7;

/// What is taken away, and where what it did is kept.
type Step = (fn(&mut PlannedDay, bool), fn(&mut Effects) -> &mut f64);

/// In this order. A store that is closed on a weekday stays so: that is its week, and no event.
const STEPS: [Step; 3] = [
    (|day, _| day.weather = DayWeather::default(), |effects| &mut effects.weather),
    (|day, _| day.is_promotion = false, |effects| &mut effects.promotion),
    (
        |day, is_closed_weekday| {
            *day = PlannedDay {
                is_closed: is_closed_weekday,
                weather: day.weather,
                is_promotion: day.is_promotion,
                ..PlannedDay::default()
            }
        },
        |effects| &mut effects.events,
    ),
];

/// Explains the leaves of articles that have their own days: a usual one, unless the store is closed.
pub(super) fn of_own_days(business: &Business<'_>, leaves: &mut [Option<Leaf>]) {
    for (series, leaf) in leaves.iter_mut().enumerate() {
        let Some(leaf) = leaf.as_mut().filter(|leaf| !leaf.is_of_model) else { continue };
        // Where every day is closed, nothing is usual.
        let usual = leaf.mean.iter().copied().fold(0.0, f64::max);
        let of_day = |(ahead, mean): (usize, &f64)| {
            let closed = mean - usual;
            let is_weekday = business.is_closed_weekday(series, ahead);
            let (season, events) = if is_weekday { (closed, 0.0) } else { (0.0, closed) };
            Effects { base: usual, season, events, ..Effects::default() }
        };
        leaf.effects = leaf.mean.iter().enumerate().map(of_day).collect();
    }
}

/// Explains the leaves of the articles that the model forecasts, of which `asked` holds what its members have answered.
pub(super) fn of_model(
    business: &mut Business<'_>,
    members: &Members,
    chosen: &Chosen,
    mut asked: Asked,
    leaves: &mut [Option<Leaf>],
) {
    let parts = business.window().parts;
    let planned: Vec<Vec<PlannedDay>> = parts.iter().map(|part| business.ahead(part.series)).collect();
    let (mut days, mut effects) = (planned.clone(), vec![Vec::new(); parts.len()]);
    let mut made = means(business, &chosen.blend(&business.window(), &asked));
    for (of, part) in effects.iter_mut().zip(&parts) {
        let leaf = leaves[part.series].as_ref();
        *of = vec![Effects::default(); leaf.map_or(0, |leaf| leaf.mean.len())];
    }
    for (take_away, kept_in) in STEPS {
        let mut changed = Vec::new();
        for (place, part) in parts.iter().enumerate() {
            let before = days[place].clone();
            for (ahead, day) in days[place].iter_mut().enumerate() {
                take_away(day, business.is_closed_weekday(part.series, ahead));
            }
            if days[place] != before {
                business.replan(part.series, &days[place]);
                changed.push(place);
            }
        }
        members.ask_again(&business.window(), &changed, &mut asked);
        let without = means(business, &chosen.blend(&business.window(), &asked));
        for ((effects, with), without) in effects.iter_mut().zip(&made).zip(&without) {
            for ((effects, with), without) in effects.iter_mut().zip(with).zip(without) {
                *kept_in(effects) = with - without;
            }
        }
        made = without;
    }
    for (((part, plain), mut effects), planned) in parts.iter().zip(&made).zip(effects).zip(&planned) {
        business.replan(part.series, planned);
        let Some(leaf) = &mut leaves[part.series] else { continue };
        let base = base(business, part.series);
        let trend = level(business, part.series, plain).map_or(0.0, |level| level - base);
        for ((effects, plain), mean) in effects.iter_mut().zip(plain).zip(&leaf.mean) {
            (effects.base, effects.trend, effects.season) = (base, trend, plain - base - trend);
            effects.adjustment = mean - effects.sum();
        }
        leaf.effects = effects;
    }
}

/// The means of each part of the business' window, 0 where it is closed.
fn means(business: &Business<'_>, answers: &[Answer]) -> Vec<Vec<f64>> {
    let parts = business.window().parts;
    let of_part = |(part, answer): (&crate::panel::Part, &Answer)| {
        let of_day = |(ahead, mean): (usize, &f64)| {
            if business.is_open_ahead(part.series, ahead) { *mean } else { 0.0 }
        };
        answer.mean.iter().enumerate().map(of_day).collect()
    };
    parts.iter().zip(answers).map(of_part).collect()
}

/// The mean of a series' open days of the last year.
fn base(business: &Business<'_>, series: usize) -> f64 {
    let known = business.known(series);
    let rows =
        (known.len().saturating_sub(HISTORY_DAYS)..known.len()).filter(|row| business.is_open(series, *row));
    let open: Vec<f64> = rows.map(|row| known[row]).collect();
    open.iter().sum::<f64>() / open.len().max(1) as f64
}

/// The mean of what is forecast of open days, over whole weeks where there is one.
fn level(business: &Business<'_>, series: usize, plain: &[f64]) -> Option<f64> {
    let weeks = plain.len() / SEASON_DAYS * SEASON_DAYS;
    let days = if weeks > 0 { weeks } else { plain.len() };
    let open: Vec<f64> = plain
        .iter()
        .enumerate()
        .take(days)
        .filter(|(ahead, _)| !business.is_closed_weekday(series, *ahead))
        .map(|(_, mean)| *mean)
        .collect();
    (!open.is_empty()).then(|| open.iter().sum::<f64>() / open.len() as f64)
}

#[cfg(test)]
pub(crate) mod tests;
