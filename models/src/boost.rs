//! Gradient boosting of all quantiles and the mean at once: each tree has one structure and, in each leaf, a value for each of them.
//!
//! The usual way fits a model for each quantile (Meinshausen 2006 and the quantile objectives of the common libraries): nine times the work, and nine sets
//! of splits that know nothing of each other. Here a split is chosen by how far it moves location, spread and skew of the whole distribution: the
//! pinball gradients of a row, projected on three directions (the sketched split of Iosipoi and Vakhrushev 2022). Leaf values are the quantiles of what is
//! left in the leaf, as in gradient boosting with least absolute deviation (Friedman 2001, section 4.3).

mod bins;
mod grow;
mod leaf;

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use bins::Bins;
pub use bins::Columns;
use grow::Tree;

/// Values that a leaf has: the quantiles at [`domain::forecast::QUANTILES_PER_MILLE`], and the mean.
pub const VALUES: usize = 12;

/// Which of them is the mean's.
pub const MEAN: usize = VALUES - 1;

/// How a forest is grown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// Trees.
    pub trees: usize,
    /// How much of a leaf's value is added.
    pub rate: f32,
    /// Leaves of a tree, at most.
    pub leaves: usize,
    /// What the rows of a leaf weigh, at least.
    pub min_leaf: usize,
    /// The share of features that a tree may split on.
    pub features: f32,
    /// The share of rows that a tree is grown from.
    pub rows: f32,
    /// Rows that a leaf's quantiles are taken from, at most.
    pub leaf_rows: usize,
    /// Rows that pull a leaf's values towards 0.
    pub shrink: f32,
    /// What samples begin with.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        DEFAULT
    }
}

const DEFAULT: Config = Config {
    trees: 400,
    rate: 0.05,
    leaves: 15,
    min_leaf: 20,
    features: 0.5,
    rows: 0.5,
    leaf_rows: 300,
    shrink: 10.0,
    seed: 0,
};

/// What is learned, row by row.
#[derive(Debug, Clone, Default)]
pub struct Target {
    /// What came, on the scale that quantiles are boosted on.
    pub bent: Vec<f32>,
    /// What came, on the scale of the mean.
    pub raw: Vec<f32>,
    /// How much a row counts in a mean.
    pub size: Vec<f32>,
    /// How much a row counts for splits and quantiles; 1 in the mean.
    pub weight: Vec<f32>,
    /// Where the boosting begins.
    pub start: Vec<[f32; VALUES]>,
}

/// A grown forest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Forest {
    bins: Bins,
    trees: Vec<Tree>,
}

impl Forest {
    /// Grows a forest. The same arguments give the same forest, bit by bit.
    #[must_use]
    pub fn grow(columns: &Columns, target: &Target, config: &Config) -> Self {
        let bins = Bins::of(columns);
        let codes = bins.codes(columns);
        let mut random = ChaCha8Rng::seed_from_u64(config.seed);
        let mut made = target.start.clone();
        let mut features: Vec<usize> = (0..codes.width).collect();
        let some = (codes.width as f32 * config.features).ceil() as usize;
        let mut trees = Vec::with_capacity(config.trees);
        let mut grower = grow::Grower::new(config);
        for _ in 0..config.trees {
            features.shuffle(&mut random);
            let mut split_on = features[..some.min(codes.width)].to_vec();
            split_on.sort_unstable();
            let rows: Vec<u32> =
                (0..codes.rows() as u32).filter(|_| random.random::<f32>() < config.rows).collect();
            let tree = grower.grow(&codes, target, &made, &split_on, rows);
            tree.add_to(&codes, &mut made);
            trees.push(tree);
        }
        Self { bins, trees }
    }

    /// Adds what the trees say of each row to where the boosting begins for it.
    #[must_use]
    pub fn predict(&self, columns: &Columns, start: &[[f32; VALUES]]) -> Vec<[f32; VALUES]> {
        let codes = self.bins.codes(columns);
        let mut made = start.to_vec();
        for tree in &self.trees {
            tree.add_to(&codes, &mut made);
        }
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: Config = Config { trees: 150, features: 1.0, min_leaf: 400, ..DEFAULT };

    /// Two kinds of rows, told apart by a feature or by its lack: uniform from 0 to 1, and from 5 to 15.
    fn rows(told: impl Fn(bool) -> f32) -> (Columns, Target) {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let (mut columns, mut target) = (Columns::default(), Target::default());
        columns.names = vec!["kind".to_owned(), "noise".to_owned()];
        columns.values = vec![Vec::new(); 2];
        for at in 0..4_000 {
            let (wide, share) = (at % 2 == 0, random.random::<f32>());
            columns.values[0].push(told(wide));
            columns.values[1].push(random.random());
            let y = if wide { 5.0 + 10.0 * share } else { share };
            target.bent.push(y);
            target.raw.push(y);
            target.size.push(1.0);
            target.weight.push(1.0);
            target.start.push([2.0; VALUES]);
        }
        (columns, target)
    }

    #[test]
    fn quantiles_and_means_of_what_a_feature_tells() {
        for lack in [0.0, f32::NAN] {
            let told = |wide: bool| if wide { 1.0 } else { lack };
            let (columns, target) = rows(told);
            let forest = Forest::grow(&columns, &target, &CONFIG);
            let asked = Columns { values: vec![vec![1.0, lack], vec![0.5, 0.5]], ..columns };
            let made = forest.predict(&asked, &[[2.0; VALUES]; 2]);
            for (row, from, length) in [(0, 5.0, 10.0), (1, 0.0, 1.0)] {
                for (at, per_mille) in domain::forecast::QUANTILES_PER_MILLE.iter().enumerate() {
                    let truth = from + length * f32::from(*per_mille) / 1_000.0;
                    assert!((made[row][at] - truth).abs() < 0.06 * length, "{truth}: {:?}", made[row]);
                }
                assert!((made[row][MEAN] - from - length / 2.0).abs() < 0.06 * length, "{:?}", made[row]);
            }
        }
    }

    #[test]
    fn the_same_again_unless_the_seed_is_another() {
        let (columns, target) = rows(|wide| f32::from(u8::from(wide)));
        let grown = |seed| Forest::grow(&columns, &target, &Config { seed, trees: 10, ..CONFIG });
        assert_eq!(grown(1), grown(1));
        assert_ne!(grown(1), grown(2));
    }

    #[test]
    fn nothing_to_learn_from_leaves_the_start() {
        let (columns, _) = rows(|_| 0.0);
        let nothing = Columns { values: vec![Vec::new(); 2], ..columns.clone() };
        for learned in [nothing, Columns::default()] {
            let forest = Forest::grow(&learned, &Target::default(), &CONFIG);
            let start = vec![[3.0; VALUES]; columns.rows()];
            assert_eq!(forest.predict(&columns, &start), start);
        }
    }
}
