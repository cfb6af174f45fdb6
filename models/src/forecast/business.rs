//! The series of a business as a panel: a row for each day, those of the horizon among them, and what is planned for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{Datelike, Days, NaiveDate};
use domain::forecast::{DailySeries, DayWeather, PlannedDay, SeriesSet};
use serde::{Deserialize, Serialize};

use super::ForecastConfig;
use super::closures::Closures;
use super::newcomers::{Debut, Newcomers};
use crate::censored::mend;
use crate::panel::{Covariate, Frequency, LongSeries, LongTable, Part, Period, Role, Settings, Window};
use crate::{boost, tide};

/// Days with sales below which an article hardly sells.
pub(crate) const FEWEST_SALE_DAYS: usize = 28;
/// Days of history below which an article is too new for the model.
pub(crate) const FEWEST_DAYS: usize = 56;
/// Units beyond which a day is no quantity: sums and squares stay finite below it.
const GREATEST_UNITS: f64 = 1e21;
const SEASON_DAYS: usize = 7;

/// What is known of a day before it comes: a name, how well it is known, and its figure; NaN where there is none.
type Plan = (&'static str, Role, fn(PlannedDay) -> f64);
pub(super) const OPEN: &str = "open";
pub(super) const PROMOTION: &str = "promotion";
pub(super) const HOLIDAY: &str = "holiday";
pub(super) const SCHOOL_HOLIDAY: &str = "school holiday";
pub(super) const TEMPERATURE: &str = "temperature";
pub(super) const RAIN: &str = "rain";
const PLANS: [Plan; 6] = [
    (OPEN, Role::Known, |day| flag(!day.is_closed)),
    (PROMOTION, Role::Known, |day| flag(day.is_promotion)),
    (HOLIDAY, Role::Known, |day| flag(day.is_holiday)),
    (SCHOOL_HOLIDAY, Role::Known, |day| flag(day.is_school_holiday)),
    (TEMPERATURE, Role::Forecast, |day| day.weather.temp_mean_c.unwrap_or(f64::NAN)),
    (RAIN, Role::Forecast, |day| day.weather.precipitation_mm.unwrap_or(f64::NAN)),
];

fn flag(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}

/// A trait with the values that there are, in order: their places are what models are told.
#[derive(Debug, Clone)]
struct Values {
    name: &'static str,
    of: for<'s> fn(&'s DailySeries) -> Option<&'s str>,
    values: Vec<String>,
}

/// What never changes about a series.
type Trait = (&'static str, for<'a> fn(&'a DailySeries) -> Option<&'a str>);
const TRAITS: [Trait; 2] =
    [("store", |series| Some(&series.key.store)), ("category", |series| series.category.as_deref())];

/// What a whole business decides of the rows of each series: what is told of days and articles, and when stores are closed unsaid.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    closures: Closures,
    plans: Vec<Plan>,
    traits: Vec<Values>,
    newcomers: Newcomers,
    /// What all articles come to that the model forecasts, where a business is looked at in part.
    pub(super) market: Option<Arc<BTreeMap<Period, f64>>>,
}

/// A business, ready to be forecast from an origin. Its table ends there: of what has come behind it, models see nothing.
#[derive(Debug)]
pub(super) struct Business<'a> {
    /// With what has come behind the origin, to judge by.
    pub(super) series: &'a [DailySeries],
    /// How many days the origin lies before the last known one.
    pub(super) days_before: usize,
    /// One for each series, in their order.
    pub(super) table: LongTable,
    pub(super) settings: Settings,
    /// Which series have days that hold no quantity and count as 0.
    pub(super) is_mended: Vec<bool>,
    calendar: Calendar<'a>,
    shape: Shape,
}

impl<'a> Business<'a> {
    /// Of its series as they were so many days before the last. What is the same on all days, or for all articles, is not told to models.
    pub(super) fn new(set: &'a SeriesSet, config: &ForecastConfig, days_before: usize) -> Self {
        Self::shaped(set, Shape::of(set, config, days_before), config, days_before)
    }

    /// Of some series of a business of a shape.
    pub(super) fn shaped(
        set: &'a SeriesSet,
        shape: Shape,
        config: &ForecastConfig,
        days_before: usize,
    ) -> Self {
        let ForecastConfig { horizon_days: horizon, learning, .. } = *config;
        let is_mended =
            set.series.iter().map(|series| !series.units.iter().copied().all(is_quantity)).collect();
        let Shape { closures, plans, traits, market, .. } = &shape;
        let calendar = Calendar { set, closures: closures.clone(), horizon, days_before };
        let covariate = |name: &str, role| Covariate { name: name.to_owned(), role };
        let named = traits.iter().map(|told| covariate(told.name, Role::Static));
        let covariates: Vec<_> =
            named.chain(plans.iter().map(|(name, role, _)| covariate(name, *role))).collect();
        let series = set.series.iter().map(|series| calendar.long_series(series, plans, traits)).collect();
        let table = LongTable { covariates, frequency: Frequency::Daily, series, market: market.clone() };
        let is_plan = |plan: &&Plan| plan.1 == Role::Known;
        let settings = Settings {
            season: SEASON_DAYS,
            horizon,
            windows: 1,
            step: horizon,
            min_train: FEWEST_DAYS,
            clip0: true,
            mask: table.covariate(OPEN),
            median_by: Vec::from_iter(table.covariate(PROMOTION)),
            shift: plans.iter().filter(is_plan).filter_map(|(name, ..)| table.covariate(name)).collect(),
            boost: boost::Config {
                trees: learning.trees,
                rate: learning.tree_rate,
                ..boost::Config::default()
            },
            net: tide::Config { steps: learning.steps, ..tide::Config::default() },
            rows: learning.rows,
            jobs: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        };
        Self { series: &set.series, days_before, table, settings, is_mended, calendar, shape }
    }

    /// What some of its series can be looked at by.
    pub(super) fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The articles that the model forecasts.
    pub(super) fn window(&self) -> Window<'_> {
        let sells = |part: &Part| self.sale_days(part.series) >= FEWEST_SALE_DAYS;
        Window::new(&self.table, &self.settings, 0).only(sells)
    }

    /// The articles that a new one is held beside; none for one that is not new, or where too few were.
    pub(super) fn beside(&self, series: usize) -> Option<&Debut> {
        if self.known(series).len() >= FEWEST_DAYS {
            return None;
        }
        self.shape.newcomers.beside(&self.series[series])
    }

    /// Whether an article is in stock, has sold nothing yet, and others tell what to expect.
    pub(super) fn is_unsold(&self, series: usize) -> bool {
        self.series[series].units.is_empty() && self.days_before == 0 && self.beside(series).is_some()
    }

    /// Days of those that a new article is held beside.
    pub(super) fn sample(&self, series: usize) -> &[f64] {
        self.beside(series).map(|others| others.sample.as_slice()).unwrap_or_default()
    }

    /// Days with sales that are known of a series.
    pub(super) fn sale_days(&self, series: usize) -> usize {
        let sold = self.series[series].units.iter().take(self.known(series).len());
        sold.filter(|units| is_quantity(**units) && **units > 0.0).count()
    }

    /// Whether more may have been wanted of a series than was sold, so many days ahead.
    pub(super) fn is_out_ahead(&self, series: usize, ahead: usize) -> bool {
        let row = self.known(series).len() + ahead;
        self.series[series].stocked_out.binary_search(&row).is_ok()
    }

    /// The known days of a series: what was sold, or on days without stock what was wanted, as far as that can be told.
    pub(super) fn known(&self, series: usize) -> &[f64] {
        let y = &self.table.series[series].y;
        &y[..y.len() - self.settings.horizon]
    }

    /// What came behind the origin; NaN where that is not known yet.
    pub(super) fn came(&self, series: usize) -> Vec<f64> {
        let came = self.series[series].units.get(self.known(series).len()..).unwrap_or_default();
        let mended = came.iter().map(|units| if is_quantity(*units) { *units } else { 0.0 });
        mended.chain(std::iter::repeat(f64::NAN)).take(self.settings.horizon).collect()
    }

    /// What is planned for the days ahead of a series.
    pub(super) fn ahead(&self, series: usize) -> Vec<PlannedDay> {
        let known = self.known(series).len();
        let of_series = &self.series[series];
        let days = self.calendar.days(of_series).skip(known);
        days.map(|day| self.calendar.on(of_series, day)).collect()
    }

    /// Whether the store of a series is closed so many days ahead for its weekday alone.
    pub(super) fn is_closed_weekday(&self, series: usize, ahead: usize) -> bool {
        let (known, of_series) = (self.known(series).len(), &self.series[series]);
        let day = of_series.start.checked_add_days(Days::new((known + ahead) as u64));
        let is_closed =
            |day| self.calendar.closures.is_closed(&of_series.key.store, day, PlannedDay::default());
        day.is_some_and(is_closed)
    }

    /// Models are told of these days ahead of a series from now on.
    pub(super) fn replan(&mut self, series: usize, days: &[PlannedDay]) {
        let known = self.known(series).len();
        let covariates = &mut self.table.series[series].covariates;
        let plans = &self.shape.plans;
        let first = covariates.len() - plans.len();
        for (covariate, (.., of)) in covariates[first..].iter_mut().zip(plans) {
            covariate[known..].iter_mut().zip(days).for_each(|(value, day)| *value = of(*day));
        }
    }

    /// Whether a series' store is open so many days ahead.
    pub(super) fn is_open_ahead(&self, series: usize, ahead: usize) -> bool {
        self.is_open(series, self.known(series).len() + ahead)
    }

    /// Whether a series' store is open on a day.
    pub(super) fn is_open(&self, series: usize, row: usize) -> bool {
        self.settings.mask.is_none_or(|mask| self.table.series[series].covariates[mask][row] != 0.0)
    }
}

/// What days are like, as of an origin.
#[derive(Debug)]
struct Calendar<'a> {
    set: &'a SeriesSet,
    closures: Closures,
    horizon: usize,
    days_before: usize,
}

fn is_quantity(units: f64) -> bool {
    units.abs() <= GREATEST_UNITS
}

impl Calendar<'_> {
    /// What a day is like for a series.
    fn on(&self, series: &DailySeries, day: NaiveDate) -> PlannedDay {
        let key = (series.key.tenant.clone(), series.key.store.clone());
        let planned = self.set.plans.get(&key).map(|plan| plan.on(day)).unwrap_or_default();
        // What was forecast of it by then is not known any more.
        let is_behind = self.days_before > 0 && day > self.origin(series);
        PlannedDay {
            is_closed: planned.is_closed || self.closures.is_closed(&key.1, day, planned),
            weather: if is_behind { DayWeather::default() } else { planned.weather },
            ..planned
        }
    }

    /// The last known day of a series.
    fn origin(&self, series: &DailySeries) -> NaiveDate {
        let end = series.end();
        end.checked_sub_days(Days::new(self.days_before as u64)).unwrap_or(end)
    }

    /// The known days of a series and those of the horizon.
    fn days(&self, series: &DailySeries) -> impl Iterator<Item = NaiveDate> + use<> {
        let start = series.start;
        let rows = series.units.len().saturating_sub(self.days_before) + self.horizon;
        (0..rows).map_while(move |at| start.checked_add_days(Days::new(at as u64)))
    }

    /// What a series sold on the open ones of so many days behind its first.
    fn first_days(&self, series: &DailySeries, days: usize) -> Vec<f64> {
        let of_days = self.days(series).zip(&series.units).skip(1).take(days);
        let open = of_days.filter(|(day, units)| is_quantity(**units) && !self.on(series, *day).is_closed);
        open.map(|(_, units)| *units).collect()
    }

    /// The plans that are not the same on all days of all series.
    fn plans_that_vary(&self) -> Vec<Plan> {
        // Articles of a store share its days: the one that begins first has them all.
        let stores = self.set.series.chunk_by(|a, b| a.key.store == b.key.store);
        let longest = stores.filter_map(|series| series.iter().min_by_key(|series| series.start));
        let days: Vec<PlannedDay> = longest
            .flat_map(|series| self.days(series).map(|day| self.on(series, day)).collect::<Vec<_>>())
            .collect();
        // What is usual where nothing is said, or, where nothing is usual, the first figure that there is.
        let varies = |(.., of): &Plan| {
            let mut figures = days.iter().map(|day| of(*day)).filter(|figure| figure.is_finite());
            let usual = Some(of(PlannedDay::default())).filter(|usual| usual.is_finite());
            usual.or_else(|| figures.next()).is_some_and(|usual| figures.any(|figure| figure != usual))
        };
        PLANS.into_iter().filter(varies).collect()
    }

    fn long_series(&self, series: &DailySeries, plans: &[Plan], traits: &[Values]) -> LongSeries {
        let known = series.units.len().saturating_sub(self.days_before);
        let rows = known + self.horizon;
        let quantities =
            series.units[..known].iter().map(|units| if is_quantity(*units) { *units } else { 0.0 });
        let mut y: Vec<f64> = quantities.collect();
        let first = midnight(series.start);
        let of_trait = |told: &Values| {
            let place = (told.of)(series)
                .and_then(|value| told.values.binary_search_by(|known| known.as_str().cmp(value)).ok());
            vec![place.map_or(f64::NAN, |place| place as f64); rows]
        };
        let mut days: Vec<PlannedDay> = self.days(series).map(|day| self.on(series, day)).collect();
        days.resize(rows, PlannedDay::default());
        if !series.stocked_out.is_empty() {
            let is_open: Vec<bool> = days.iter().take(known).map(|day| !day.is_closed).collect();
            let mut is_out = vec![false; known];
            series.stocked_out.iter().filter(|row| **row < known).for_each(|row| is_out[*row] = true);
            mend(&mut y, &is_open, &is_out);
        }
        y.resize(rows, f64::NAN);
        let of_plan = |(.., of): &Plan| days.iter().map(|day| of(*day)).collect();
        LongSeries {
            id: format!("{}/{}", series.key.store, series.key.sku),
            periods: (0..rows as i64).map(|row| first + row * MICROS_A_DAY).collect(),
            y,
            covariates: traits.iter().map(of_trait).chain(plans.iter().map(of_plan)).collect(),
        }
    }
}

/// The microseconds from 1970 to a day's beginning.
fn midnight(day: NaiveDate) -> i64 {
    (i64::from(day.num_days_from_ce()) - DAYS_TO_1970) * MICROS_A_DAY
}

/// What a model was told beside the days themselves, to be stored: the names of plans, and of traits with their values.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Told {
    plans: Vec<String>,
    traits: Vec<(String, Vec<String>)>,
    newcomers: Newcomers,
}

impl Shape {
    /// The shape of a business whose model was told this and nothing else, whatever has come to be planned or sold since.
    pub(super) fn told(set: &SeriesSet, told: &Told) -> Self {
        let plans = PLANS.into_iter().filter(|plan| told.plans.iter().any(|name| name == plan.0)).collect();
        let values = |(name, of): Trait| {
            let (_, values) = told.traits.iter().find(|(known, _)| known == name)?;
            Some(Values { name, of, values: values.clone() })
        };
        let traits = TRAITS.into_iter().filter_map(values).collect();
        Self {
            closures: Closures::of(set, 0),
            plans,
            traits,
            newcomers: told.newcomers.clone(),
            market: None,
        }
    }

    /// What models are told.
    pub(super) fn tell(&self) -> Told {
        Told {
            plans: self.plans.iter().map(|plan| plan.0.to_owned()).collect(),
            traits: self.traits.iter().map(|told| (told.name.to_owned(), told.values.clone())).collect(),
            newcomers: self.newcomers.clone(),
        }
    }

    fn of(set: &SeriesSet, config: &ForecastConfig, days_before: usize) -> Self {
        let closures = Closures::of(set, days_before);
        let calendar =
            Calendar { set, closures: closures.clone(), horizon: config.horizon_days, days_before };
        let plans = calendar.plans_that_vary();
        let newcomers =
            Newcomers::of(&set.series, days_before, |series, days| calendar.first_days(series, days));
        Self { plans, traits: traits_that_vary(set), newcomers, closures, market: None }
    }

    /// Whether models are told of something that is planned or forecast, by its name.
    pub(super) fn tells(&self, name: &str) -> bool {
        self.plans.iter().any(|plan| plan.0 == name)
    }
}

/// The traits in which series differ.
fn traits_that_vary(set: &SeriesSet) -> Vec<Values> {
    let values = |(name, of): Trait| {
        let mut values: Vec<&str> = set.series.iter().filter_map(of).collect();
        values.sort_unstable();
        values.dedup();
        let values: Vec<String> = values.into_iter().map(str::to_owned).collect();
        (values.len() > 1).then_some(Values { name, of, values })
    };
    TRAITS.into_iter().filter_map(values).collect()
}

const MICROS_A_DAY: i64 = 86_400_000_000;
const DAYS_TO_1970: i64 = 719_163;
