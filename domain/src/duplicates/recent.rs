//! The newest rows of a table by their hashes, within a bound of memory.

use std::mem::size_of;

use hashbrown::HashTable;

use super::{Mark, RowHash};

/// Contents of one key that are remembered, so that a key that a producer gives to everything costs no more than others.
const CONTENTS_A_KEY: usize = 64;

/// The hashes of the newest rows of a table, as of one of its versions. The oldest make room for new ones.
#[derive(Debug)]
pub struct RecentRows {
    as_of: Option<u64>,
    /// A ring: once it is full, the oldest row stands where the next one goes.
    rows: Vec<RowHash>,
    capacity: usize,
    next: usize,
    /// Where in the ring a key's content stands; where it stands several times, the newest.
    places: HashTable<u32>,
    evicted: u64,
}

impl RecentRows {
    /// None yet; as many as `bytes` hold.
    #[must_use]
    pub fn within(bytes: usize) -> Self {
        Self::of_most(Self::capacity_of(bytes))
    }

    /// None yet, and `most` at most.
    #[must_use]
    pub fn of_most(most: usize) -> Self {
        Self {
            as_of: None,
            rows: Vec::new(),
            capacity: most.min(u32::MAX as usize),
            next: 0,
            places: HashTable::new(),
            evicted: 0,
        }
    }

    /// How many rows `bytes` hold.
    #[must_use]
    pub fn capacity_of(bytes: usize) -> usize {
        // The table of places doubles when seven eighths of it are filled; a place takes its number and a byte.
        const A_PLACE: usize = size_of::<u32>() + 1;
        let (mut buckets, mut most) = (8, 0);
        while buckets * A_PLACE < bytes {
            let rows = (bytes - buckets * A_PLACE) / size_of::<RowHash>();
            most = most.max(rows.min(buckets / 8 * 7));
            buckets *= 2;
        }
        most
    }

    /// Rows that it may hold.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Rows that it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Memory that it takes, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.rows.capacity() * size_of::<RowHash>() + self.places.allocation_size()
    }

    /// Rows that made room for others.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// The version of the table whose rows it holds; none before it was filled.
    #[must_use]
    pub fn as_of(&self) -> Option<u64> {
        self.as_of
    }

    /// All rows of the table up to this version were added.
    pub fn reached(&mut self, version: u64) {
        self.as_of = Some(version);
    }

    /// What a row would be to those that are held.
    #[must_use]
    pub fn mark(&self, row: RowHash) -> Mark {
        let mut mark = Mark::New;
        for &place in self.places.iter_hash(row.key) {
            let held = self.rows[place as usize];
            if held == row {
                return Mark::Duplicate;
            }
            if held.key == row.key {
                mark = Mark::Conflict;
            }
        }
        mark
    }

    /// What each row is to those that are held, and to those before it.
    #[must_use]
    pub fn marks(&self, rows: &[RowHash]) -> Vec<Mark> {
        let mut before = Self::of_most(rows.len());
        before.rows.reserve_exact(rows.len());
        before.places = HashTable::with_capacity(rows.len());
        let mark = |&row: &RowHash| {
            let mark = self.mark(row).max(before.mark(row));
            before.add(row);
            mark
        };
        rows.iter().map(mark).collect()
    }

    /// Adds rows, the oldest first.
    pub fn extend(&mut self, rows: impl IntoIterator<Item = RowHash>) {
        rows.into_iter().for_each(|row| self.add(row));
    }

    fn add(&mut self, row: RowHash) {
        if self.capacity == 0 {
            return;
        }
        let place = self.next;
        if self.rows.len() < self.capacity {
            self.grow();
            self.rows.push(row);
        } else {
            self.forget(place);
            self.rows[place] = row;
            self.evicted += 1;
        }
        self.next = (place + 1) % self.capacity;
        if self.rows.len() == self.capacity && self.places.len() == self.places.capacity() {
            self.renew();
        } else {
            self.remember(place, row);
        }
    }

    /// Makes room in steps, never for more rows than it may hold: a vector by itself would double beyond that.
    fn grow(&mut self) {
        if self.rows.len() == self.rows.capacity() {
            let more = self.rows.len().clamp(1_024, 1 << 20).min(self.capacity - self.rows.len());
            self.rows.reserve_exact(more);
        }
    }

    /// Takes away the row at a place, unless the same row stands at a newer one.
    fn forget(&mut self, place: usize) {
        let key = self.rows[place].key;
        if let Ok(found) = self.places.find_entry(key, |&known| known as usize == place) {
            found.remove();
        }
    }

    fn remember(&mut self, place: usize, row: RowHash) {
        let (rows, place) = (&self.rows, place as u32);
        if let Some(known) =
            self.places.find_mut(row.key, |&known| known != place && rows[known as usize] == row)
        {
            *known = place;
            return;
        }
        let of_key = |known: &&u32| rows[**known as usize].key == row.key;
        if self.places.iter_hash(row.key).filter(of_key).count() >= CONTENTS_A_KEY {
            // The oldest is the one that is furthest behind the new place.
            let age = |known: &&u32| (place as usize + self.capacity - **known as usize) % self.capacity;
            let oldest = self.places.iter_hash(row.key).filter(of_key).max_by_key(age).copied();
            let oldest = oldest.map(|oldest| self.places.find_entry(row.key, |&known| known == oldest));
            if let Some(Ok(found)) = oldest {
                found.remove();
            }
        }
        self.places.insert_unique(row.key, place, |&known| rows[known as usize].key);
    }

    /// The table of places wears out as places go and come, and would grow for it, although what it holds does not: it is filled anew instead.
    fn renew(&mut self) {
        self.places.clear();
        for place in (self.next..self.rows.len()).chain(0..self.next) {
            self.remember(place, self.rows[place]);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    fn row(key: u64, content: u64) -> RowHash {
        RowHash { key, content }
    }

    #[test]
    fn a_row_is_marked_by_what_came_before_it() {
        let mut held = RecentRows::of_most(10);
        held.extend([row(1, 1)]);
        assert_eq!(
            [row(2, 2), row(1, 3), row(1, 1)].map(|row| held.mark(row)),
            [Mark::New, Mark::Conflict, Mark::Duplicate]
        );
        let of_batch = held.marks(&[row(2, 2), row(2, 2), row(1, 3), row(1, 1), row(1, 3), row(2, 4)]);
        assert_eq!(
            of_batch,
            [Mark::New, Mark::Duplicate, Mark::Conflict, Mark::Duplicate, Mark::Duplicate, Mark::Conflict]
        );
        assert_eq!((held.len(), held.mark(row(2, 2))), (1, Mark::New), "marking adds nothing");
    }

    #[test]
    fn the_default_bound_holds_five_million_sales_and_is_kept() {
        const DEFAULT_BYTES: usize = 128 << 20;
        let mut held = RecentRows::within(DEFAULT_BYTES);
        assert!(held.capacity() >= 5_000_000, "{}", held.capacity());
        let spread = |at: u64| at.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let rows = held.capacity() as u64 + 300_000;
        held.extend((0..rows).map(|at| row(spread(at), at)));
        assert_eq!((held.len(), held.evicted()), (held.capacity(), 300_000));
        assert!(held.bytes() <= DEFAULT_BYTES + 64, "{}", held.bytes());
        assert_eq!(held.mark(row(spread(299_999), 299_999)), Mark::New);
        assert_eq!(held.mark(row(spread(300_000), 300_000)), Mark::Duplicate);
    }

    #[test]
    fn a_key_that_everything_has_stays_cheap() {
        let mut held = RecentRows::of_most(1_000);
        held.extend((0..500).map(|content| row(7, content)));
        assert_eq!(held.places.len(), CONTENTS_A_KEY);
        assert_eq!(held.mark(row(7, 499)), Mark::Duplicate);
        assert_eq!(held.mark(row(7, 0)), Mark::Conflict);
        held.extend((0..2_000).map(|_| row(8, 1)));
        assert_eq!((held.places.len(), held.mark(row(7, 499))), (1, Mark::New));
    }

    proptest! {
        #[test]
        fn it_says_what_the_newest_rows_say(
            most in 1_usize..40,
            rows in prop::collection::vec((0_u64..12, 0_u64..5), 0..200),
        ) {
            let (mut held, mut newest) = (RecentRows::of_most(most), VecDeque::new());
            for (key, content) in rows {
                let next = row(key, content);
                let expected = match newest.iter().filter(|held: &&RowHash| held.key == key).max_by_key(|held| **held == next) {
                    None => Mark::New,
                    Some(twin) if *twin == next => Mark::Duplicate,
                    Some(_) => Mark::Conflict,
                };
                prop_assert_eq!(held.mark(next), expected);
                held.extend([next]);
                newest.push_back(next);
                if newest.len() > most {
                    newest.pop_front();
                }
                prop_assert_eq!(held.len(), newest.len());
            }
        }
    }
}
