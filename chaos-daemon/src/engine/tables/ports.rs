//! Ports to rows: a sweep over the ends of all ranges.

use std::collections::BTreeMap;

use chaos_common::table::RowId;

use super::rows::{Bits, Rows};
use crate::config::value::PortRange;

/// The table of all ports, for ranges that belong to clauses.
pub fn table(ranges: &[(PortRange, usize)], rows: &mut Rows) -> Box<[RowId; 1 << 16]> {
    // What begins and what ends at a port. A clause may have ranges that overlap: it counts how many it is in.
    let mut edges: BTreeMap<u32, Vec<(usize, i32)>> = BTreeMap::new();
    for (range, clause) in ranges {
        edges.entry(u32::from(range.first)).or_default().push((*clause, 1));
        edges.entry(u32::from(range.last) + 1).or_default().push((*clause, -1));
    }
    let mut table = vec![rows.number(&Bits::default()); 1 << 16];
    let mut inside: BTreeMap<usize, i32> = BTreeMap::new();
    let mut bits = Bits::default();
    let starts: Vec<u32> = edges.keys().copied().collect();
    for (index, (port, changes)) in edges.into_iter().enumerate() {
        for (clause, change) in changes {
            let depth = inside.entry(clause).or_default();
            *depth += change;
            if *depth > 0 { bits.set(clause) } else { bits.unset(clause) }
        }
        let end = starts.get(index + 1).copied().unwrap_or(1 << 16);
        let row = rows.number(&bits);
        if let Some(ports) = table.get_mut(port as usize..end as usize) {
            ports.fill(row);
        }
    }
    boxed(table)
}

/// A table of the right length, without a detour over the stack.
pub(super) fn boxed<T: Copy + Default, const N: usize>(list: Vec<T>) -> Box<[T; N]> {
    list.into_boxed_slice().try_into().unwrap_or_else(|_| Box::new([T::default(); N]))
}
