//! The descriptors of a message: they wait in the sockets that tell who is there, one packet for each message that has any.
//!
//! A producer sends the packet in its turn, before it commits the message; a consumer takes a copy in its turn, commits,
//! and takes the packet away. In between the kernel keeps the descriptors, whoever dies.
//!
//! | a packet | what is true | who moves it, to what |
//! |---|---|---|
//! | of a message to come | its producer is in the middle | the commit, to the next; the producer's death, to "of no message" |
//! | of a message that is queued | the slot has its number | the commit of a consumer, to the next |
//! | of no message | no slot will ever have its number again | a consumer takes it away: that which received the message, or who meets it ahead of another, or [`Link::sweep`] |
//!
//! Invariants: numbers only grow in the order of the packets, because a number is taken, and its packet sent, in one turn of
//! the producers: so what is ahead of the packet of a queued message belongs to no message, and what is behind it is never
//! touched. No code of handles runs in a turn. Held by `tests/handles.rs` and `tests/handles_steps.rs`.
//!
//! More descriptors than a packet carries are put into sockets of their own, the *trunks*, a packet in each, and the packet
//! has those. Trunks are never emptied: what is taken out is a copy, as of every packet, so that a job has all of its handles
//! each time it is delivered.

use std::io::{ErrorKind, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

use procession_codec::handles::Outgoing;
use procession_raw::{Limit, Park, Side, Turn, Waited};
use procession_shm::{Party, ShmError, Wait};
use procession_sys::futex::SharedPark;
use procession_sys::socket::{self, MAX_DESCRIPTORS, SendFailed};
use procession_sys::{Deadline, OsError};

use crate::error::{RecvError, SendFault};
use crate::extents::Leased;
use crate::layout::LUGGAGE_AT;
use crate::link::{Link, News, Place};
use crate::memory::Memory;
use crate::packet::{self, PATIENCE, Packet};
use crate::sender::{LARGE, Sender};
use crate::traffic::{self, Missing, Parcel};

/// The most descriptors of one message.
const MAX_LUGGAGE: usize = MAX_DESCRIPTORS * MAX_DESCRIPTORS;
/// How long a producer without room lets a consumer finish, unless that is stopped.
const MOMENT: Duration = Duration::from_millis(1);

/// The descriptors of a message that is to be sent.
#[derive(Debug)]
pub(crate) struct Luggage<'a> {
    descriptors: Vec<BorrowedFd<'a>>,
    trunks: Vec<OwnedFd>,
}

/// A message with descriptors that was taken, and those.
#[derive(Debug)]
pub(crate) struct Laden<'a> {
    number: u64,
    /// Where its bytes are, if they were not copied.
    leased: Option<Leased<'a>>,
    packet: Option<Packet>,
}

/// Memory that knows the numbers of luggage.
pub(crate) trait Numbered: Place {
    /// The number of the last packet, and of the last when the socket was empty.
    fn numbers(&self) -> Result<[&AtomicU64; 2], ShmError>;
}

/// Why a packet was not sent.
#[derive(Debug)]
pub(crate) enum Unsent {
    /// There is no room for it.
    Crowded,
    Fault(SendFault),
}

/// The wait of a producer for room in the socket.
#[derive(Debug, Default)]
pub(crate) struct Crowded<'a> {
    /// Where the consumers' counter was when they were let finish last.
    settled_at: Option<u32>,
    /// Whether they were though the time was over, which is done once.
    has_settled_late: bool,
    /// Where it was when this one lay down last.
    slept_at: Option<u32>,
    /// What it will sleep on, and where the counter was when it said so.
    bed: Option<(u32, Bed<'a>)>,
    ticks: u32,
}

/// The words of a ring to sleep on.
type Bed<'a> = [(&'a AtomicU32, u32); 3];

impl<'a> Luggage<'a> {
    /// Makes a packet of the handles of a message.
    pub(crate) fn pack(outgoing: &'a Outgoing) -> Result<Self, SendFault> {
        let descriptors: Vec<_> = outgoing.descriptors().collect();
        if descriptors.len() > MAX_LUGGAGE {
            return Err(too_many());
        }
        let trunks = match descriptors.len() {
            ..=MAX_DESCRIPTORS => Vec::new(),
            _ => descriptors.chunks(MAX_DESCRIPTORS).map(fill_trunk).collect::<Result<_, _>>()?,
        };
        Ok(Self { descriptors, trunks })
    }

    /// Sends the packet, and says its number: what `next` makes of the last one, which no other has, nor will, also if this
    /// thread is killed in here.
    pub(crate) fn send(
        &self,
        end: BorrowedFd<'_>,
        memory: &impl Numbered,
        next: impl FnOnce(u64) -> u64,
    ) -> Result<u64, Unsent> {
        let [last, _] = memory.numbers().map_err(|error| Unsent::Fault(SendFault::Memory(error)))?;
        let number = next(last.load(Relaxed));
        last.store(number, Relaxed);
        let label = packet::label(number, self.descriptors.len());
        let bytes = [IoSlice::new(&label)];
        let trunks: Vec<_> = self.trunks.iter().map(AsFd::as_fd).collect();
        let descriptors = if trunks.is_empty() { &self.descriptors } else { &trunks };
        match socket::send_packet(end, &bytes, descriptors, Deadline::now()) {
            Ok(_) => Ok(number),
            Err(SendFailed::TimedOut) => Err(Unsent::Crowded),
            Err(SendFailed::Closed) => Err(Unsent::Fault(SendFault::Disconnected)),
            Err(SendFailed::Os(error)) => Err(Unsent::Fault(SendFault::Handles(error))),
            Err(failed) => unreachable!("{failed}"),
        }
    }
}

/// As many as a packet carries, in a socket.
fn fill_trunk(some: &[BorrowedFd<'_>]) -> Result<OwnedFd, SendFault> {
    let (ours, theirs) = socket::pair().map_err(SendFault::Handles)?;
    match socket::send_packet(&ours, &[IoSlice::new(b"+")], some, Deadline::now()) {
        Ok(_) => Ok(theirs),
        Err(SendFailed::Os(error)) => Err(SendFault::Handles(error)),
        Err(_) => Err(too_many()),
    }
}

fn too_many() -> SendFault {
    let what = "sending so many handles in one message";
    SendFault::Handles(OsError::new(what, ErrorKind::ArgumentListTooLong))
}

impl<T, W> Sender<T, W> {
    /// Sends a message with its descriptors, waiting for room for both. If this succeeds, the handles have moved.
    #[cold]
    pub(crate) fn send_laden(
        &self,
        bytes: &[u8],
        outgoing: Outgoing,
        deadline: Deadline,
    ) -> Result<(), SendFault> {
        self.send_laden_parcel(&self.parcel(bytes)?, outgoing, deadline)
    }

    /// [`send_laden`](Self::send_laden) of bytes that are [laden](Parcel::Laden) or written already.
    #[cold]
    pub(crate) fn send_laden_parcel(
        &self,
        parcel: &Parcel<'_>,
        outgoing: Outgoing,
        deadline: Deadline,
    ) -> Result<(), SendFault> {
        let luggage = Luggage::pack(&outgoing)?;
        self.send_with_luggage(parcel, &luggage, deadline)?;
        drop(luggage);
        outgoing.commit();
        Ok(())
    }

    fn parcel<'a>(&'a self, bytes: &'a [u8]) -> Result<Parcel<'a>, SendFault> {
        self.check_length(bytes.len())?;
        if bytes.len() > LARGE
            && let Some(extent) = self.extent(bytes.len())?
        {
            self.link().memory().arena().write(extent.at(), bytes).map_err(SendFault::Memory)?;
            return Ok(Parcel::Extent(extent));
        }
        Ok(Parcel::Laden(bytes))
    }

    fn send_with_luggage(
        &self,
        parcel: &Parcel<'_>,
        luggage: &Luggage<'_>,
        deadline: Deadline,
    ) -> Result<(), SendFault> {
        let link = self.link();
        let mut wait = Crowded::default();
        let fault = loop {
            let mut unsent = None;
            self.send_as(deadline, |load| {
                unsent = load.put_with(parcel, |memory| {
                    luggage.send(link.end(), memory, |last| last.wrapping_add(1))
                })?;
                Ok(true)
            })?;
            let seen = match unsent {
                None => return Ok(()),
                Some((_, Unsent::Fault(fault))) => break fault,
                Some((seen, Unsent::Crowded)) => seen,
            };
            if link.memory().layout().never_waits != 0 {
                break SendFault::Full;
            }
            match link.wait_for_space(&mut wait, seen, deadline) {
                News::Maybe => {}
                News::TimedOut => break SendFault::TimedOut,
                News::Disconnected => break SendFault::Disconnected,
            }
        };
        if wait.slept_at.is_some() {
            link.pass_on();
        }
        Err(fault)
    }
}

impl<M: Numbered> Link<M> {
    /// One step of the wait for room in the socket, of who found none when the consumers' counter was `seen`. It tries again
    /// after each.
    ///
    /// A counter has moved before there is room in the socket, and does not move when there is. So who sleeps says so first,
    /// tries again, and then sleeps only if nobody has seen that it said so.
    pub(crate) fn wait_for_space<'a>(
        &'a self,
        wait: &mut Crowded<'a>,
        seen: u32,
        deadline: Deadline,
    ) -> News {
        let bed = wait.bed.take();
        // Who moved the counter to here may not have taken its packet away yet.
        if wait.settled_at.replace(seen) != Some(seen) && !wait.has_settled_late {
            wait.has_settled_late = deadline.has_passed();
            self.let_consumers_finish(deadline);
            return News::Maybe;
        }
        if deadline.has_passed() {
            return self.wait(seen, deadline, &mut wait.ticks);
        }
        let Some((_, bed)) = bed.filter(|(at, _)| *at == seen) else {
            if wait.slept_at.replace(seen).is_some_and(|before| before != seen) {
                // Woken for room that this one does not need, and another one may.
                self.pass_on();
            }
            wait.bed = self.memory().ring().lie_down(Side::Producers, seen).map(|bed| (seen, bed));
            return News::Maybe;
        };
        let watched = self.watch();
        if self.is_alone() {
            return News::Disconnected;
        }
        let limit = Wait(deadline);
        let tick = limit.tick(wait.ticks);
        let nap = limit.left().map_or(tick, |left| left.min(tick));
        let words: Vec<_> = bed.into_iter().chain(watched).collect();
        let waited = SharedPark.wait_any(&words, Some(nap));
        wait.ticks = if waited == Waited::TimedOut { wait.ticks + 1 } else { 0 };
        News::Maybe
    }

    /// Waits until whoever is receiving right now is done with it; not for long.
    fn let_consumers_finish(&self, deadline: Deadline) {
        let (party, moment) = (self.party(), Deadline::after(MOMENT));
        let wait = Wait(if deadline.has_passed() { deadline } else { moment });
        if let Ok(turn) = self.memory().ring().enter(Side::Consumers, &SharedPark, &party, &wait)
            && turn.heir_of().is_some()
        {
            self.memory().tidy(Side::Consumers, &party, &turn);
        }
    }

    /// Takes away what belongs to no message, if the queue is empty and nobody is sending: for who finds nothing to
    /// receive. Does not wait.
    #[inline]
    pub(crate) fn sweep(&self, party: &Party<'_>) {
        let sent = self.memory().numbers().map(|[sent, swept]| (sent.load(Relaxed), swept.load(Relaxed)));
        if sent.is_ok_and(|(sent, swept)| sent != swept) {
            self.sweep_now(party);
        }
    }

    #[cold]
    fn sweep_now(&self, party: &Party<'_>) {
        let ring = self.memory().ring();
        let Ok(turn) = self.enter(party, Deadline::now()) else { return };
        let Ok(theirs) = ring.enter(Side::Producers, &SharedPark, party, &Wait(Deadline::now())) else {
            return;
        };
        if theirs.heir_of().is_some() {
            self.memory().tidy(Side::Producers, party, &theirs);
        }
        if !ring.is_empty() {
            return;
        }
        // Nobody is between a packet and its commit, and nothing is queued: no packet belongs to a message.
        let n = (0..PATIENCE).take_while(|_| matches!(socket::discard_packet(self.end()), Ok(true))).count();
        if n < PATIENCE
            && let Ok([sent, swept]) = self.memory().numbers()
        {
            swept.store(sent.load(Relaxed), Relaxed);
        }
        drop((theirs, turn));
        (0..n).for_each(|_| self.tell_of_room());
    }

    /// Takes away the first packet, of the message with this number, which was committed.
    pub(crate) fn discard(&self, number: u64) {
        // If it fails, the packet belongs to no message from now on.
        let discarded = socket::discard_packet(self.end());
        if let (Ok(_), Ok([_, swept])) = (discarded, self.memory().numbers()) {
            swept.store(number, Relaxed);
        }
    }

    /// Wakes a producer that may wait for room in the socket.
    pub(crate) fn tell_of_room(&self) {
        self.memory().ring().pass_on(Side::Producers, &SharedPark);
    }
}

impl Numbered for Memory {
    #[inline]
    fn numbers(&self) -> Result<[&AtomicU64; 2], ShmError> {
        let words = self.arena().atomics(LUGGAGE_AT, 2)?;
        Ok([&words[0], &words[1]])
    }
}

impl<'a> Laden<'a> {
    pub(crate) fn new(number: u64, leased: Option<Leased<'a>>) -> Self {
        Self { number, leased, packet: None }
    }

    /// Takes the message and its descriptors out of the queue, where it is the first.
    ///
    /// # Errors
    /// It is still there.
    pub(crate) fn claim(mut self, link: &Link, turn: &mut Turn<'a, SharedPark>) -> Result<Self, Missing> {
        match packet::find(link.end(), self.number) {
            Ok(packet) => self.packet = packet,
            Err(error) => {
                if let Some(leased) = self.leased {
                    leased.put_back(turn.at());
                }
                return Err(Missing::Memory(error.into()));
            }
        }
        turn.commit(1);
        if self.packet.is_some() {
            link.discard(self.number);
        }
        Ok(self)
    }

    /// Appends the bytes of the message to `bytes` if they are not there yet, and gives its descriptors. Not in a turn.
    pub(crate) fn open(self, link: &Link, bytes: &mut Vec<u8>) -> Result<Vec<OwnedFd>, RecvError> {
        link.tell_of_room();
        if let Some(leased) = self.leased {
            traffic::copy(link.memory(), leased.at(), leased.len(), bytes)?;
        }
        packet::unpack(self.packet).map_err(RecvError::Decode)
    }
}
