//! A hole in the order that a room knows of, for the figures: open as long as this lives.

use metrics::gauge;

use crate::count;

/// An open hole. Dropped without being healed it was the room's last.
#[derive(Debug)]
pub(super) struct OpenHole(());

impl OpenHole {
    fn found() -> Self {
        count!("hubbub_holes_found_total");
        gauge!("hubbub_rooms_with_hole").increment(1.0);
        Self(())
    }

    /// Follows the state of a room.
    pub(super) fn follow(hole: &mut Option<Self>, is_open: bool) {
        match (&hole, is_open) {
            (None, true) => *hole = Some(Self::found()),
            (Some(_), false) => {
                count!("hubbub_holes_healed_total");
                *hole = None;
            }
            _ => {}
        }
    }
}

impl Drop for OpenHole {
    fn drop(&mut self) {
        gauge!("hubbub_rooms_with_hole").decrement(1.0);
    }
}
