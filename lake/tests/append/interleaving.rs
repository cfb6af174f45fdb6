//! Two processes in any order of steps, against a model of what must stand: a row or a letter for every consumed offset, never both.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domain::ports::{Batch, CommitOutcome, LetterSelection};
use domain::replay::LetterStatus;
use lake::Lake;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::replay;
use crate::support::*;

/// What one of the two processes does next. `nth` picks one of what there is to pick from.
#[derive(Debug, Clone)]
enum Step {
    /// Reads the stored positions.
    Look { who: usize },
    /// Decodes records from where it believes to stand. The bits of `bad` are the offsets that its decoder refuses.
    Prepare { who: usize, lengths: [i64; 2], bad: u16 },
    /// Commits a prepared batch.
    Commit { who: usize, nth: usize },
    /// Commits what either process has committed already, or been told to drop.
    Repeat { who: usize, nth: usize },
    /// Dies between the letters and the rows of a prepared batch; the next process finds the same batch again.
    Die { who: usize, nth: usize },
    /// Selects all letters there are, to be replayed.
    Select { who: usize },
    /// Lands what was selected, mended, whatever happened since.
    Replay { who: usize, nth: usize },
    /// Forgets a prepared batch.
    Forget { who: usize, nth: usize },
    /// Starts anew.
    Restart { who: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let (who, nth) = (0..2_usize, 0..8_usize);
    let pick = (who.clone(), nth);
    prop_oneof![
        2 => who.clone().prop_map(|who| Step::Look { who }),
        6 => (who.clone(), [0..6_i64, 0..6_i64], any::<u16>(), any::<u16>())
            .prop_map(|(who, lengths, a, b)| Step::Prepare { who, lengths, bad: a & b }),
        8 => pick.clone().prop_map(|(who, nth)| Step::Commit { who, nth }),
        2 => pick.clone().prop_map(|(who, nth)| Step::Repeat { who, nth }),
        3 => pick.clone().prop_map(|(who, nth)| Step::Die { who, nth }),
        1 => pick.prop_map(|(who, nth)| Step::Forget { who, nth }),
        2 => who.clone().prop_map(|who| Step::Select { who }),
        3 => (who.clone(), 0..8_usize).prop_map(|(who, nth)| Step::Replay { who, nth }),
        1 => who.prop_map(|who| Step::Restart { who }),
    ]
}

/// What must stand in the tables.
#[derive(Debug, Default)]
struct Expected {
    positions: BTreeMap<i32, i64>,
    rows: BTreeSet<Coordinates>,
    letters: BTreeSet<Coordinates>,
}

impl Expected {
    fn fits(&self, batch: &Batch) -> bool {
        batch.ranges.iter().all(|range| self.positions.get(&range.partition).copied() == range.from)
    }

    fn letters_of(batch: &Batch) -> BTreeSet<Coordinates> {
        batch.dead_letters.iter().map(|letter| (letter.log, letter.partition, letter.offset)).collect()
    }

    fn take_letters(&mut self, batch: &Batch) {
        self.letters.extend(Self::letters_of(batch));
    }

    /// A replay adds what is listed, stands nowhere and was passed.
    fn replay(&mut self, selected: &[Coordinates]) -> u64 {
        let passed = |(_, partition, offset): &&Coordinates| {
            self.positions.get(partition).is_some_and(|next| offset < next)
        };
        let new: Vec<_> =
            selected.iter().filter(passed).filter(|at| !self.rows.contains(at)).copied().collect();
        self.rows.extend(&new);
        new.len() as u64
    }

    fn take(&mut self, batch: &Batch) {
        self.take_letters(batch);
        for covered in &batch.ranges {
            let records = range(covered.partition, covered.from.unwrap_or(0)..covered.to);
            self.rows.extend(records.into_iter().filter(|record| !self.letters.contains(record)));
            self.positions.insert(covered.partition, covered.to);
        }
    }
}

#[derive(Debug)]
struct Process {
    lake: Arc<Lake>,
    /// Where it believes to stand.
    view: BTreeMap<i32, i64>,
    prepared: Vec<Batch>,
    selected: Vec<Arc<dyn LetterSelection>>,
}

impl Process {
    fn take(&mut self, nth: usize) -> Option<Batch> {
        let count = self.prepared.len();
        (count > 0).then(|| self.prepared.remove(nth % count))
    }

    async fn prepare(&mut self, lengths: [i64; 2], bad: u16) {
        let mut draft = Draft::new(1);
        for (partition, length) in (0..).zip(lengths).filter(|(_, length)| *length > 0) {
            let from = self.view.get(&partition).copied();
            draft = draft.range(partition, from, from.unwrap_or(0) + length);
        }
        let refused = (0..64_i64).filter(|offset| (bad >> (offset % 16)) & 1 == 1);
        let draft = draft.bad(refused.flat_map(|offset| [(0, offset), (1, offset)]));
        if lengths != [0, 0] {
            self.prepared.push(draft.stage(&self.lake).await);
        }
    }
}

struct World {
    folder: tempfile::TempDir,
    processes: [Process; 2],
    ended: Vec<Batch>,
    expected: Expected,
}

impl World {
    async fn new() -> Self {
        let folder = folder();
        let lakes = [lake_with_log(folder.path()).await, open(folder.path()).await];
        let processes = lakes.map(|lake| Process {
            lake,
            view: BTreeMap::new(),
            prepared: Vec::new(),
            selected: Vec::new(),
        });
        Self { folder, processes, ended: Vec::new(), expected: Expected::default() }
    }

    async fn take(&mut self, step: &Step) {
        match *step {
            Step::Look { who } => self.look(who).await,
            Step::Prepare { who, lengths, bad } => self.processes[who].prepare(lengths, bad).await,
            Step::Commit { who, nth } => {
                if let Some(batch) = self.processes[who].take(nth) {
                    self.commit(who, batch).await;
                }
            }
            Step::Repeat { who, nth } if !self.ended.is_empty() => {
                let batch = self.ended[nth % self.ended.len()].clone();
                self.commit(who, batch).await;
            }
            Step::Repeat { .. } => {}
            Step::Die { who, nth } => self.die(who, nth).await,
            Step::Select { who } => {
                let process = &mut self.processes[who];
                process.selected.push(replay::select(&process.lake, &[]).await);
            }
            Step::Replay { who, nth } => {
                let selected = &self.processes[who].selected;
                if selected.is_empty() {
                    return;
                }
                let selection = Arc::clone(&selected[nth % selected.len()]);
                let places = selection.entries().iter().map(|entry| &entry.place);
                let places: Vec<_> = places.map(|at| (at.log, at.partition, at.offset)).collect();
                let landed = replay::land(&*selection).await.expect("the store answers");
                assert_eq!(landed.rows, self.expected.replay(&places), "{landed:?} of {places:?}");
            }
            Step::Forget { who, nth } => drop(self.processes[who].take(nth)),
            Step::Restart { who } => {
                let lake = open(self.folder.path()).await;
                let view = positions(&lake, 1).await;
                self.processes[who] = Process { lake, view, prepared: Vec::new(), selected: Vec::new() };
            }
        }
    }

    async fn look(&mut self, who: usize) {
        let process = &mut self.processes[who];
        process.view = positions(&process.lake, 1).await;
        assert_eq!(process.view, self.expected.positions);
    }

    async fn commit(&mut self, who: usize, batch: Batch) {
        let fits = self.expected.fits(&batch);
        let outcome = commit(&self.processes[who].lake, &batch).await;
        assert_eq!(matches!(outcome, CommitOutcome::Committed { .. }), fits, "{outcome:?} of {batch:?}");
        if fits {
            self.expected.take(&batch);
            let process = &mut self.processes[who];
            process.view.extend(batch.ranges.iter().map(|range| (range.partition, range.to)));
        } else {
            self.look(who).await;
        }
        self.ended.push(batch);
    }

    async fn die(&mut self, who: usize, nth: usize) {
        let Some(batch) = self.processes[who].take(nth) else { return };
        if self.expected.fits(&batch) && !Expected::letters_of(&batch).is_subset(&self.expected.letters) {
            die_after_letters(&self.processes[who].lake, &batch).await;
            self.expected.take_letters(&batch);
        }
        self.processes[who].prepared.push(batch);
    }

    /// What stands is what the model says, seen by a process that has done nothing yet.
    async fn check(&self) {
        let lake = open(self.folder.path()).await;
        let expected = &self.expected;
        assert_eq!(positions(&lake, 1).await, expected.positions);
        let (rows, letters) = (coordinates(&lake, SALES).await, coordinates(&lake, LETTERS).await);
        assert_eq!(rows, expected.rows.iter().copied().collect::<Vec<_>>());
        assert_eq!(letters, expected.letters.iter().copied().collect::<Vec<_>>());

        // The promise itself, without the model: each consumed offset once, and no row beyond; a replayed one is a letter too, and that is told.
        let resolved: BTreeSet<_> = letters.iter().filter(|letter| rows.contains(letter)).copied().collect();
        let told = replay::seen(&lake).await.into_iter();
        let told: BTreeSet<_> =
            told.filter(|(_, status, _)| *status == LetterStatus::Resolved).map(|(at, ..)| at).collect();
        assert_eq!(told, resolved);
        let consumed = |(_, partition, offset): &Coordinates| {
            expected.positions.get(partition).is_some_and(|next| offset < next)
        };
        assert!(rows.iter().all(consumed));
        let mut found: Vec<_> = rows
            .into_iter()
            .chain(letters.into_iter().filter(consumed).filter(|letter| !resolved.contains(letter)))
            .collect();
        found.sort_unstable();
        let all = expected.positions.iter().flat_map(|(partition, next)| range(*partition, 0..*next));
        assert_eq!(found, all.collect::<Vec<_>>());
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        max_shrink_iters: 200,
        rng_seed: RngSeed::Fixed(20_091_201),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_consumed_offset_stands_once(steps in prop::collection::vec(step(), 8..48)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut world = World::new().await;
            for step in &steps {
                world.take(step).await;
            }
            world.check().await;
        });
    }
}
