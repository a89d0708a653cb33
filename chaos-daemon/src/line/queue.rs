//! Frames that wait, in the order in which they are due.

use std::{cmp::Reverse, collections::BinaryHeap};

/// What may wait at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Packets.
    pub packets: u32,
    /// Bytes of memory for them.
    pub bytes: u64,
}

/// A frame that waits. Those due at the same time stay in the order in which they came: `order` decides, and is never
/// the same twice, so frames themselves are not compared.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Waiting {
    /// When it is due.
    pub release: u64,
    order: u64,
    /// As it was read.
    pub frame: Box<[u8]>,
}

/// What a frame takes besides its bytes, about: its place in the heap, and what the allocator keeps.
const OVERHEAD: u64 = 64;

/// There is no room for another frame.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

/// The frames.
#[derive(Debug)]
pub struct Queue {
    room: Room,
    heap: BinaryHeap<Reverse<Waiting>>,
    bytes: u64,
    order: u64,
}

impl Queue {
    /// An empty one.
    pub fn new(room: Room) -> Self {
        Self { room, heap: BinaryHeap::new(), bytes: 0, order: 0 }
    }

    /// Keeps a copy of exactly the frame's length, which the allocator serves from what was freed before.
    pub fn push(&mut self, release: u64, frame: &[u8]) -> Result<(), Full> {
        let bytes = self.bytes + cost(frame);
        let packets = u32::try_from(self.heap.len()).unwrap_or(u32::MAX);
        if bytes > self.room.bytes || packets >= self.room.packets {
            return Err(Full);
        }
        self.bytes = bytes;
        self.order += 1;
        self.heap.push(Reverse(Waiting { release, order: self.order, frame: frame.into() }));
        Ok(())
    }

    /// When the next one is due.
    pub fn next(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse(waiting)| waiting.release)
    }

    /// Takes the next one, if it is due.
    pub fn pop(&mut self, now: u64) -> Option<Waiting> {
        if self.next()? > now {
            return None;
        }
        let Reverse(waiting) = self.heap.pop()?;
        self.bytes -= cost(&waiting.frame);
        Some(waiting)
    }
}

fn cost(frame: &[u8]) -> u64 {
    OVERHEAD + u64::try_from(frame.len()).unwrap_or(u64::MAX >> 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ROOM: Room = Room { packets: 1000, bytes: 1 << 20 };

    #[test]
    fn nothing_comes_out_before_its_time() {
        let mut queue = Queue::new(ROOM);
        assert_eq!(queue.push(10, b"a"), Ok(()));
        assert_eq!(queue.pop(9), None);
        assert_eq!(queue.pop(10).map(|w| w.release), Some(10));
        assert_eq!((queue.pop(u64::MAX), queue.next(), queue.bytes), (None, None, 0));
    }

    #[test]
    fn no_more_than_there_is_room_for() {
        let mut queue = Queue::new(Room { packets: 2, bytes: 1000 });
        assert_eq!([1, 2, 3].map(|t| queue.push(t, b"x").is_ok()), [true, true, false]);
        assert!(queue.pop(1).is_some());
        assert_eq!(queue.push(4, b"x"), Ok(()));

        let mut queue = Queue::new(Room { packets: 9, bytes: 300 });
        assert_eq!(queue.push(1, &[0; 236]), Ok(()));
        assert_eq!(queue.push(1, b""), Err(Full));
        assert!(queue.pop(1).is_some());
        assert_eq!(queue.push(1, b""), Ok(()));
    }

    proptest! {
        /// By time, and by arrival where the time is the same: what a stable sort does.
        #[test]
        fn order_is_that_of_a_stable_sort(times in prop::collection::vec(0u64..20, 0..200)) {
            let mut queue = Queue::new(ROOM);
            let mut expected: Vec<(u64, usize)> = Vec::new();
            for (number, time) in times.into_iter().enumerate() {
                prop_assert_eq!(queue.push(time, &number.to_ne_bytes()), Ok(()));
                expected.push((time, number));
            }
            expected.sort_by_key(|(time, _)| *time);
            let popped = std::iter::from_fn(|| queue.pop(u64::MAX));
            let got: Vec<_> = popped.map(|w| (w.release, w.frame)).collect();
            let expected: Vec<_> =
                expected.iter().map(|(t, n)| (*t, Box::<[u8]>::from(n.to_ne_bytes()))).collect();
            prop_assert_eq!(got, expected);
            prop_assert_eq!(queue.bytes, 0);
        }
    }
}
