//! The errors of similar articles, for those whose history is too short for errors of their own.
//!
//! Similar are articles of the same store, and so of the same business, in the same class of demand; where none of the class has enough history, all
//! of the store. Errors are shared as multiples of the naive error that was usual for their article at the time ([`scale`]), and become units
//! again by that of the article that borrows them. They come from calibrating origins alone, which lie before every judging origin of the store.

use std::collections::BTreeMap;

use super::conformal::{Weekly, fewest_origins};
use super::naive::{scale, seasonal_naive};
use super::series::Article;
use crate::classical::demand::DemandClass;

/// One in so many of an article's calibrating origins lends its errors: all seasons of the year, at a quarter of the memory.
pub(crate) const EVERY_ORIGIN: usize = 4;

/// What the articles of a store lend.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    classes: BTreeMap<DemandClass, Similar>,
    store: Option<Similar>,
}

/// Scaled errors of articles that are alike.
#[derive(Debug)]
pub(crate) struct Similar {
    /// Their quantiles.
    pub(crate) errors: Weekly,
    /// How many articles they come from.
    pub(crate) articles: usize,
}

/// The errors that one article lends: days ahead and multiples of its scale, of some origins.
struct Loan {
    class: DemandClass,
    errors: Vec<(usize, f64)>,
    origins: usize,
}

impl Pool {
    /// The pool of one store's articles; empty when none of them needs it.
    pub(crate) fn of(articles: &[Article<'_>]) -> Self {
        let Some(horizon) = articles.iter().find(|article| article.may_borrow()).map(Article::horizon) else {
            return Self::default();
        };
        let loans: Vec<Loan> = articles.iter().filter(|a| a.has_errors_of_its_own()).map(loan).collect();
        let mut of_class: BTreeMap<DemandClass, Vec<&Loan>> = BTreeMap::new();
        for loan in &loans {
            of_class.entry(loan.class).or_default().push(loan);
        }
        let filled = |(class, loans): (DemandClass, Vec<&Loan>)| Some((class, similar(horizon, &loans)?));
        Self {
            classes: of_class.into_iter().filter_map(filled).collect(),
            store: similar(horizon, &loans.iter().collect::<Vec<_>>()),
        }
    }

    /// What an article of a class may borrow, and of which articles that is.
    pub(crate) fn for_class(&self, class: DemandClass) -> Option<(&Similar, &'static str)> {
        let of_class = self.classes.get(&class).map(|similar| (similar, class.as_str()));
        of_class.or_else(|| self.store.as_ref().map(|similar| (similar, "other")))
    }
}

fn loan(article: &Article<'_>) -> Loan {
    let units = article.units();
    let mut loan = Loan {
        class: DemandClass::of(&units[..article.first_judging_day()]),
        errors: Vec::new(),
        origins: 0,
    };
    for origin in article.origins().calibration.iter().step_by(EVERY_ORIGIN) {
        let known = &units[..=*origin];
        let Some(scale) = scale(known) else { continue };
        loan.origins += 1;
        loan.errors.extend((1..=article.horizon()).filter_map(|ahead| {
            let error = units[origin + ahead] - seasonal_naive(known, ahead)?;
            Some((ahead, error / scale))
        }));
    }
    loan
}

/// `None` when the loans are too few to bound every quantile.
fn similar(horizon: usize, loans: &[&Loan]) -> Option<Similar> {
    let origins: usize = loans.iter().map(|loan| loan.origins).sum();
    (origins >= fewest_origins(horizon)).then(|| Similar {
        errors: Weekly::new(horizon, loans.iter().flat_map(|loan| loan.errors.iter().copied())),
        articles: loans.iter().filter(|loan| loan.origins > 0).count(),
    })
}
