//! One tree, grown best split first.

use domain::forecast::QUANTILES_PER_MILLE;
use serde::{Deserialize, Serialize};

use super::bins::{CODES, Codes};
use super::{Config, Target, VALUES, leaf};

/// Sums over rows: the gradients' three directions, and what the rows weigh.
type Sums = [f32; 4];

/// The sums of each code of a feature.
type Histogram = [Sums; CODES];

/// The smallest gain worth a split.
const LEAST_GAIN: f32 = 1e-3;

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Split {
    feature: u32,
    /// Codes up to here go left.
    code: u8,
    /// Whether a missing value does.
    missing_left: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Node {
    Split { split: Split, left: u32, right: u32 },
    Leaf(u32),
}

/// A tree; its first node is the root.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    leaves: Vec<[f32; VALUES]>,
}

impl Tree {
    pub(super) fn add_to(&self, codes: &Codes, made: &mut [[f32; VALUES]]) {
        for (row, made) in made.iter_mut().enumerate() {
            let codes = codes.row(row);
            let mut at = 0;
            let leaf = loop {
                match self.nodes[at] {
                    Node::Split { split, left, right } => {
                        at = if split.goes_left(codes) { left } else { right } as usize;
                    }
                    Node::Leaf(leaf) => break leaf as usize,
                }
            };
            for (made, value) in made.iter_mut().zip(self.leaves[leaf]) {
                *made += value;
            }
        }
    }
}

impl Split {
    fn goes_left(&self, codes: &[u8]) -> bool {
        let code = codes[self.feature as usize];
        if code == 0 { self.missing_left } else { code <= self.code }
    }
}

/// A leaf that may still be split.
struct Open {
    node: usize,
    rows: std::ops::Range<usize>,
    histograms: Vec<Histogram>,
    best: Option<(f32, Split)>,
}

/// What is kept from tree to tree.
#[derive(Debug)]
pub(super) struct Grower<'a> {
    config: &'a Config,
    levels: [f32; VALUES],
    /// Nothing beyond the quantiles from .1 to .9.
    directions: [[f32; VALUES]; 3],
    gradients: Vec<Sums>,
    room: Vec<(f32, f32)>,
}

impl<'a> Grower<'a> {
    pub(super) fn new(config: &'a Config) -> Self {
        let levels = std::array::from_fn(|at| {
            QUANTILES_PER_MILLE.get(at).map_or(0.0, |per_mille| f32::from(*per_mille) / 1_000.0)
        });
        Self { config, levels, directions: directions(), gradients: Vec::new(), room: Vec::new() }
    }

    /// A tree from these rows, split on these features.
    pub(super) fn grow(
        &mut self,
        codes: &Codes,
        target: &Target,
        made: &[[f32; VALUES]],
        features: &[usize],
        mut rows: Vec<u32>,
    ) -> Tree {
        self.fill_gradients(target, made, &rows);
        let mut nodes = vec![Node::Leaf(0)];
        let mut open = vec![self.open(codes, features, &rows, 0, 0..rows.len(), None)];
        while open.len() < self.config.leaves {
            let gain = |open: &Open| open.best.map_or(0.0, |(gain, _)| gain);
            let Some(best) = (0..open.len()).max_by(|a, b| gain(&open[*a]).total_cmp(&gain(&open[*b])))
            else {
                break;
            };
            let Some((_, split)) = open[best].best else { break };
            let Open { node, rows: range, histograms, .. } = open.swap_remove(best);
            let middle = range.start
                + partition(&mut rows[range.clone()], |row| split.goes_left(codes.row(row as usize)));
            let (left, right) = (range.start..middle, middle..range.end);
            let (first, second) = (nodes.len(), nodes.len() + 1);
            nodes[node] = Node::Split { split, left: first as u32, right: second as u32 };
            nodes.extend([Node::Leaf(0), Node::Leaf(0)]);
            let mut parts = [(left, first), (right, second)];
            parts.sort_by_key(|(rows, _)| rows.len());
            let [(small, small_node), (large, large_node)] = parts;
            // Only the smaller part is counted: the larger one is the rest.
            let small = self.open(codes, features, &rows, small_node, small, None);
            let rest = less(histograms, &small.histograms);
            open.push(self.open(codes, features, &rows, large_node, large, Some(rest)));
            open.push(small);
        }
        let mut leaves = Vec::with_capacity(open.len());
        for open in open {
            nodes[open.node] = Node::Leaf(leaves.len() as u32);
            leaves.push(leaf::values(&rows[open.rows], target, made, self.config, &mut self.room));
        }
        Tree { nodes, leaves }
    }

    fn open(
        &self,
        codes: &Codes,
        features: &[usize],
        rows: &[u32],
        node: usize,
        range: std::ops::Range<usize>,
        known: Option<Vec<Histogram>>,
    ) -> Open {
        let histograms = known.unwrap_or_else(|| self.histograms(codes, features, &rows[range.clone()]));
        let best = self.best(&histograms, features);
        Open { node, rows: range, histograms, best }
    }

    fn histograms(&self, codes: &Codes, features: &[usize], rows: &[u32]) -> Vec<Histogram> {
        let mut histograms = vec![[[0.0; 4]; CODES]; features.len()];
        for row in rows {
            let gradient = self.gradients[*row as usize];
            let codes = codes.row(*row as usize);
            for (histogram, feature) in histograms.iter_mut().zip(features) {
                let sums = &mut histogram[codes[*feature] as usize % CODES];
                for (sum, value) in sums.iter_mut().zip(gradient) {
                    *sum += value;
                }
            }
        }
        histograms
    }

    fn best(&self, histograms: &[Histogram], features: &[usize]) -> Option<(f32, Split)> {
        let mut best: Option<(f32, Split)> = None;
        for (histogram, feature) in histograms.iter().zip(features) {
            let all = histogram.iter().fold([0.0; 4], plus);
            let missing = histogram[0];
            let nothing = score(all, self.config);
            let mut left = [0.0; 4];
            for (code, sums) in histogram.iter().enumerate().skip(1) {
                if code > 1 && sums[3] == 0.0 {
                    continue;
                }
                left = plus(left, sums);
                for missing_left in [false, true] {
                    if missing_left && missing[3] == 0.0 {
                        continue;
                    }
                    let left = if missing_left { plus(left, &missing) } else { left };
                    let right = minus(all, &left);
                    let least = self.config.min_leaf as f32;
                    if left[3] < least || right[3] < least {
                        continue;
                    }
                    let gain = score(left, self.config) + score(right, self.config) - nothing;
                    if gain > best.map_or(LEAST_GAIN, |(best, _)| best) {
                        let split = Split { feature: *feature as u32, code: code as u8, missing_left };
                        best = Some((gain, split));
                    }
                }
            }
        }
        best
    }

    /// The pinball gradients of rows, projected. A quantile that is met has none.
    fn fill_gradients(&mut self, target: &Target, made: &[[f32; VALUES]], rows: &[u32]) {
        self.gradients.resize(target.bent.len(), [0.0; 4]);
        for row in rows {
            let row = *row as usize;
            let (y, weight, made) = (target.bent[row], target.weight[row], &made[row]);
            let mut slopes = [0.0; VALUES];
            for at in 0..VALUES {
                let (below, above) = (f32::from(u8::from(made[at] < y)), f32::from(u8::from(made[at] > y)));
                slopes[at] = above - self.levels[at] * (above + below);
            }
            let along = |direction: &[f32; VALUES]| {
                let mut sum = 0.0;
                for at in 0..VALUES {
                    sum += slopes[at] * direction[at];
                }
                sum * weight
            };
            let [location, spread, skew] = &self.directions;
            self.gradients[row] = [along(location), along(spread), along(skew), weight];
        }
    }
}

/// What the squared gradients of rows promise when they share a value.
fn score(sums: Sums, config: &Config) -> f32 {
    let [location, spread, skew, weight] = sums;
    (location * location + spread * spread + skew * skew) / (weight + config.shrink).max(f32::MIN_POSITIVE)
}

fn plus(a: Sums, b: &Sums) -> Sums {
    std::array::from_fn(|at| a[at] + b[at])
}

fn minus(a: Sums, b: &Sums) -> Sums {
    std::array::from_fn(|at| a[at] - b[at])
}

fn less(mut all: Vec<Histogram>, part: &[Histogram]) -> Vec<Histogram> {
    for (all, part) in all.iter_mut().flatten().zip(part.iter().flatten()) {
        *all = minus(*all, part);
    }
    all
}

/// Location, spread and skew: three directions of unit length over the quantiles from .1 to .9, at right angles.
fn directions() -> [[f32; VALUES]; 3] {
    let inner: [f32; 9] = std::array::from_fn(|at| (at as f32 - 4.0) / 10.0);
    let bend = inner.iter().map(|x| x * x).sum::<f32>() / 9.0;
    let shapes: [&dyn Fn(f32) -> f32; 3] = [&|_| 1.0, &|x| x, &|x| x * x - bend];
    shapes.map(|shape| {
        let length = inner.iter().map(|x| shape(*x).powi(2)).sum::<f32>().sqrt();
        let mut direction = [0.0; VALUES];
        for (part, x) in direction[1..].iter_mut().zip(inner) {
            *part = shape(x) / length;
        }
        direction
    })
}

/// Brings the rows that go left to the front, in order; tells how many they are.
fn partition(rows: &mut [u32], goes_left: impl Fn(u32) -> bool) -> usize {
    let mut right = Vec::new();
    let mut kept = 0;
    for at in 0..rows.len() {
        let row = rows[at];
        if goes_left(row) {
            rows[kept] = row;
            kept += 1;
        } else {
            right.push(row);
        }
    }
    rows[kept..].copy_from_slice(&right);
    kept
}
