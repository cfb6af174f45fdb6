//! What was wanted on days on which the shelf was empty: what was sold then is a lower bound of it.
//!
//! Of such a day the expected demand is taken, given that it was no less than what was sold. Demand is taken to be negative binomial about a level and a weekday's factor, which are those of
//! a season or so around the day and are found by expectation and maximisation (Dempster, Laird and Rubin, JRSS B 39, 1977), so that days that are full of demand, which
//! empty shelves most often, are missing nowhere.

use statrs::distribution::{Continuous, ContinuousCDF, Normal};

const WEEK: usize = 7;
/// Days that are mended by one level, and as many on either side tell of it, too.
const STRETCH: usize = 91;
/// Days on which all that was wanted was sold, below which nothing is told of the others.
const FEWEST: usize = 28;
const ROUNDS: usize = 40;
/// Days that hold a weekday's factor at 1.
const PRIOR_DAYS: f64 = 4.0;
/// A day is mended to no more than so many times the greatest that was sold around it.
const MOST: f64 = 2.0;
/// Beyond this mean, or bound, demand is normal.
const MOST_COUNTED: f64 = 400.0;
/// A chance below which nothing is told of what lies there.
const LEAST_CHANCE: f64 = 1e-9;

/// Puts expected demand in the place of what was sold on days without stock. `counts` tells on which days the store was open, `is_out` on which the shelf was empty at a time.
pub(crate) fn mend(units: &mut [f64], counts: &[bool], is_out: &[bool]) {
    let sold = units.to_vec();
    for first in (0..sold.len()).step_by(STRETCH) {
        let last = (first + STRETCH).min(sold.len());
        let is_meant = |day: &usize| counts[*day] && is_out[*day];
        if !(first..last).any(|day| is_meant(&day)) {
            continue;
        }
        let around = first.saturating_sub(STRETCH)..(last + STRETCH).min(sold.len());
        let days: Vec<Day> = around
            .filter(|day| counts[*day])
            .map(|day| Day { weekday: day % WEEK, sold: sold[day].max(0.0), is_out: is_out[day] })
            .collect();
        let Some(demand) = Demand::of(&days) else { continue };
        let most = MOST * days.iter().map(|day| day.sold).fold(0.0, f64::max);
        for day in (first..last).filter(is_meant) {
            let (mean, _) = demand.beyond(day % WEEK, sold[day].max(0.0));
            units[day] = mean.clamp(sold[day].max(0.0), most.max(sold[day]));
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Day {
    weekday: usize,
    sold: f64,
    is_out: bool,
}

/// How demand is distributed.
#[derive(Debug, Clone, Copy)]
struct Demand {
    level: f64,
    weekdays: [f64; WEEK],
    /// Variance beyond that of a Poisson distribution, as a share of the squared mean.
    excess: f64,
}

impl Demand {
    /// By some days; none where too few tell all that was wanted.
    fn of(days: &[Day]) -> Option<Self> {
        let full: Vec<f64> = days.iter().filter(|day| !day.is_out).map(|day| day.sold).collect();
        let level = full.iter().sum::<f64>() / full.len().max(1) as f64;
        if full.len() < FEWEST || level <= 0.0 {
            return None;
        }
        let mut demand = Self { level, weekdays: [1.0; WEEK], excess: 0.0 };
        for _ in 0..ROUNDS {
            demand = demand.round(days);
        }
        Some(demand)
    }

    /// What days tell, where those without stock have what is expected of them by now.
    fn round(&self, days: &[Day]) -> Self {
        let expected: Vec<(f64, f64)> = days
            .iter()
            .map(|day| if day.is_out { self.beyond(day.weekday, day.sold) } else { (day.sold, 0.0) })
            .collect();
        let level = expected.iter().map(|(mean, _)| mean).sum::<f64>()
            / days.iter().map(|day| self.weekdays[day.weekday]).sum::<f64>();
        let (mut sums, mut counts) = ([PRIOR_DAYS * level; WEEK], [PRIOR_DAYS; WEEK]);
        for (day, (mean, _)) in days.iter().zip(&expected) {
            sums[day.weekday] += mean;
            counts[day.weekday] += 1.0;
        }
        let weekdays = std::array::from_fn(|at| sums[at] / counts[at] / level);
        let made = Self { level, weekdays, excess: self.excess };
        let (mut variance, mut means, mut squares) = (0.0, 0.0, 0.0);
        for (day, (mean, spread)) in days.iter().zip(&expected) {
            let of_day = made.mean(day.weekday);
            variance += (mean - of_day).powi(2) + spread;
            means += of_day;
            squares += of_day * of_day;
        }
        Self { excess: ((variance - means) / squares).max(0.0), ..made }
    }

    fn mean(&self, weekday: usize) -> f64 {
        self.level * self.weekdays[weekday]
    }

    /// Mean and variance of a weekday's demand, given that it is no less than something.
    fn beyond(&self, weekday: usize, least: f64) -> (f64, f64) {
        let mean = self.mean(weekday);
        let variance = mean + self.excess * mean * mean;
        if mean > MOST_COUNTED || least > 10.0 * MOST_COUNTED {
            return self.normal_beyond(mean, variance, least);
        }
        // Of a negative binomial distribution, chance by chance from 0 on; of a Poisson distribution where nothing is in excess.
        let (mut chance, ratio) = match self.excess {
            0.0 => ((-mean).exp(), mean),
            excess => ((1.0 + excess * mean).powf(-1.0 / excess), mean / (1.0 + excess * mean)),
        };
        let (mut below, mut sum, mut squares, mut units) = (0.0, 0.0, 0.0, 0.0);
        while units < least.ceil() {
            below += chance;
            sum += units * chance;
            squares += units * units * chance;
            chance *= ratio * (1.0 + self.excess * units) / (units + 1.0);
            units += 1.0;
        }
        let left = 1.0 - below;
        if left < LEAST_CHANCE {
            return (least, 0.0);
        }
        let beyond = (mean - sum) / left;
        (beyond, ((variance + mean * mean - squares) / left - beyond * beyond).max(0.0))
    }

    fn normal_beyond(&self, mean: f64, variance: f64, least: f64) -> (f64, f64) {
        let spread = variance.sqrt();
        let Ok(normal) = Normal::new(0.0, 1.0) else { return (least.max(mean), 0.0) };
        let at = (least - mean) / spread;
        let left = normal.sf(at);
        if left < LEAST_CHANCE {
            return (least, 0.0);
        }
        let ratio = normal.pdf(at) / left;
        (mean + spread * ratio, variance * (1.0 + at * ratio - ratio * ratio).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use domain::forecast::DailySeries;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, Gamma, Poisson};

    use super::*;
    use crate::forecast::tests::{SOME, article, made_after, set};
    use crate::forecast::{Before, ForecastConfig};

    const DAYS: usize = 728;

    /// A shop that orders up to a level once a week, receives it days later, and sells what is wanted as long as it is there: what was wanted, what was sold, and when the
    /// shelf was empty.
    fn shop(seed: u64, mean: f64, shape: Option<f64>, cover: f64) -> (Vec<f64>, Vec<f64>, Vec<bool>) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let week: [f64; WEEK] = std::array::from_fn(|_| random.random_range(0.6..1.4));
        let of_week = week.iter().sum::<f64>() / WEEK as f64;
        let up_to = cover * mean;
        let (mut stock, mut orders) = (up_to, [0.0; 3]);
        let (mut wanted, mut sold, mut is_out) = (Vec::new(), Vec::new(), Vec::new());
        for day in 0..DAYS {
            stock += orders[day % 3];
            orders[day % 3] = 0.0;
            let of_day = mean * week[day % WEEK] / of_week;
            let of_day = shape.map_or(of_day, |shape| {
                Gamma::new(shape, of_day / shape).expect("a shape").sample(&mut random)
            });
            let demand =
                if of_day > 0.0 { Poisson::new(of_day).expect("a mean").sample(&mut random) } else { 0.0 };
            let sells = f64::min(demand, stock);
            stock -= sells;
            wanted.push(demand);
            sold.push(sells);
            is_out.push(stock <= 0.0);
            if day % 4 == 3 {
                orders[(day + 2) % 3] = (up_to - stock).round();
            }
        }
        (wanted, sold, is_out)
    }

    #[test]
    fn mended_days_have_what_was_wanted_where_sales_alone_tell_too_little() {
        for (mean, shape) in
            [(6.0, None), (25.0, None), (6.0, Some(3.0)), (25.0, Some(3.0)), (900.0, Some(8.0))]
        {
            for cover in [3.5, 4.5] {
                let (mut wanted, mut sold, mut mended, mut out, mut count) = (0.0, 0.0, 0.0, 0.0, 0.0);
                for seed in 0..20 {
                    let (demand, sales, is_out) = shop(seed, mean, shape, cover);
                    let mut units = sales.clone();
                    mend(&mut units, &[true; DAYS], &is_out);
                    assert!(
                        units.iter().zip(&sales).all(|(mended, sold)| mended.is_finite() && mended >= sold)
                    );
                    wanted += demand.iter().sum::<f64>();
                    sold += sales.iter().sum::<f64>();
                    mended += units.iter().sum::<f64>();
                    out += is_out.iter().filter(|is_out| **is_out).count() as f64;
                    count += DAYS as f64;
                }
                let (share, naive, bias) = (out / count, sold / wanted - 1.0, mended / wanted - 1.0);
                eprintln!(
                    "mean {mean}, shape {shape:?}, {cover} days: {:.0} % of days out, sales {:+.1} %, mended {:+.1} %",
                    share * 100.0,
                    naive * 100.0,
                    bias * 100.0
                );
                assert!(
                    (0.1..0.4).contains(&share) && naive < -0.05 && bias.abs() < 0.02,
                    "{share} {naive} {bias}"
                );
            }
        }
    }

    #[test]
    fn forecasts_of_what_is_wanted_are_not_lowered_by_empty_shelves() {
        let config = ForecastConfig { horizon_days: 28, learning: SOME, search: false };
        let forecast = |articles: Vec<DailySeries>| {
            let made = made_after(&Before::default(), &set(articles), config);
            let whole = made.forecasts.last().expect("the business");
            whole.days.iter().map(|day| day.mean).sum::<f64>() / 28.0
        };
        let (mut truth, mut full, mut told, mut naive) = (0.0, 0.0, 0.0, 0.0);
        for business in 0..4 {
            let (mut wanted, mut sold) = (Vec::new(), Vec::new());
            for number in 0..8 {
                let (demand, sales, is_out) = shop(8 * business + number, 12.0, Some(4.0), 4.0);
                truth += 12.0;
                let stocked_out = (0..DAYS).filter(|day| is_out[*day]).collect();
                wanted.push(article(&format!("a{number}"), demand));
                sold.push(DailySeries { stocked_out, ..article(&format!("a{number}"), sales) });
            }
            full += forecast(wanted);
            told += forecast(sold.clone());
            sold.iter_mut().for_each(|article| article.stocked_out.clear());
            naive += forecast(sold);
        }
        let [full, told, naive] = [full, told, naive].map(|mean| mean / truth - 1.0);
        eprintln!(
            "forecasts of all that was wanted {full:+.3}, that know of empty shelves {told:+.3}, that do not {naive:+.3}"
        );
        assert!(told.abs() < 0.02 && naive < -0.05, "{full} {told} {naive}");
    }

    #[test]
    fn what_cannot_be_told_is_left_as_it_was() {
        let all_out = vec![true; 400];
        let sold: Vec<f64> = (0..400).map(|day| f64::from(day % 5)).collect();
        for (units, is_out) in
            [(sold.clone(), all_out), (vec![0.0; 400], vec![false; 400]), (sold.clone(), vec![false; 400])]
        {
            let mut mended = units.clone();
            mend(&mut mended, &[true; 400], &is_out);
            assert_eq!(mended, units);
        }
        // Closed days are none without stock, and a return is no demand.
        let mut units = sold.clone();
        units[50] = -3.0;
        let mut mended = units.clone();
        let (mut counts, mut is_out) = (vec![true; 400], vec![false; 400]);
        counts[9] = false;
        (is_out[9], is_out[50], is_out[60]) = (true, true, true);
        mend(&mut mended, &counts, &is_out);
        assert!(
            mended[9] == units[9] && mended[50] > 0.0 && mended[60] >= units[60],
            "{:?}",
            &mended[48..62]
        );
        let changed = mended.iter().zip(&units).filter(|(mended, units)| mended != units).count();
        assert_eq!(changed, 2);
    }
}
