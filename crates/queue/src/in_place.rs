//! Long values that are encoded where they will lie, and decoded from where they lie, so that a block in them is copied
//! once on each side.
//!
//! How long a value is, is known when it is encoded. So who sent long ones takes an extent that the next would fit into,
//! and encodes it there; if it is longer, the codec has said how long, and it is encoded once more. Who sends others
//! encodes them in memory of its own first.
//!
//! Of what lies in an extent the beginning is copied out and decoded. If all the rest is the end of a block that the value
//! keeps, that goes from the extent to its place. Of other values the whole is copied out.
//!
//! Invariants: code of users runs while an extent is owned or leased, as with loans, and never in a turn. What is decoded
//! was copied out before, lengths as well: what a peer stores meanwhile changes nothing that was looked at. Held by
//! `tests/in_place.rs`.

use procession_codec::{EncodeError, Tail};
use procession_sys::Deadline;

use crate::error::SendFault;
use crate::extents::Leased;
use crate::memory::Memory;
use crate::sender::{LARGE, Sender};
use crate::traffic::{self, Parcel};
use crate::wire::Wire;

/// So much of a message is copied out to see what it is.
const HEAD: usize = 256;

impl<T, W: Wire<T>> Sender<T, W> {
    /// Sends a value that may have `expected` bytes; `None` if there is no such extent to encode it into.
    pub(crate) fn send_in_place(
        &self,
        value: &T,
        expected: usize,
        deadline: Deadline,
    ) -> Option<Result<(), SendFault>> {
        let mut room = expected;
        // A second time if it was longer; a value that has grown in between is not for here.
        for _ in 0..2 {
            if let Err(fault) = self.check_length(room) {
                return Some(Err(fault));
            }
            let mut extent = self.extent(room).ok()??;
            let place = self.bytes_of(&mut extent).ok()?;
            let (len, outgoing) = match W::fill_with_handles(value, place) {
                Ok(filled) => filled,
                Err(EncodeError::TooSmall { needed }) => {
                    room = needed;
                    continue;
                }
                Err(error) => return Some(Err(SendFault::Encode(error))),
            };
            self.link().memory().expect(len);
            if len <= LARGE && outgoing.is_empty() {
                let bytes = place[..len].to_vec();
                drop(extent);
                return Some(self.send_encoded(&bytes, deadline));
            }
            extent.shorten(len);
            let parcel = Parcel::Extent(extent);
            return Some(match outgoing.is_empty() {
                true => self.send_parcel(&parcel, deadline),
                false => self.send_laden_parcel(&parcel, outgoing, deadline),
            });
        }
        None
    }
}

/// The value of a message without luggage, if all but its beginning is the end of a block.
pub(crate) fn get<T, W: Wire<T>>(memory: &Memory, leased: &Leased<'_>) -> Option<T> {
    let rest = leased.len().checked_sub(HEAD).filter(|rest| *rest > 0)?;
    let mut head = [0; HEAD];
    memory.arena().read(leased.at(), &mut head).ok()?;
    let append = |to: &mut Vec<u8>| traffic::copy_by_pieces(memory, leased.at() + HEAD, rest, to).is_ok();
    W::get_with_tail(&head, Tail::new(rest, &append))
}
