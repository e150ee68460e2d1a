//! The contract of pipes, with ends that came of a listener and a client, `local` and `tcp`, or of descriptors, `unix`:
//! `local::contract::pipe::duplex::local::<case>`. Over streams what needs handles on the way is left out.

mod suite;

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::thread;

use procession_codec::Message;
use procession_pipe::{Address, AuthKey, Client, Connection, Duplex, Listener, PipeError};
use suite::{Method, Peer};

fn meet(address: Address) -> (Connection, Connection) {
    let key = AuthKey::from_bytes([7; 32]).unwrap();
    let listener = Listener::builder().key(key.clone()).bind(address).unwrap();
    thread::scope(|s| {
        let client = s.spawn(|| Client::builder().key(key).connect(listener.address()).unwrap());
        (listener.accept().unwrap(), client.join().unwrap())
    })
}

macro_rules! met {
    ($name:ident, $pair:expr) => {
        struct $name;

        impl Method for $name {
            fn start<A, R>(task: fn(A) -> R, argument: A) -> Peer<R>
            where
                A: Message + Send + 'static,
                R: Message + Send + 'static,
            {
                let thread = thread::spawn(move || task(argument));
                Peer(Box::new(move || thread.join().unwrap()))
            }

            fn pipe<S: Message, R: Message>() -> Result<(Duplex<S, R>, Duplex<R, S>), PipeError> {
                Self::pair().map(|(a, b)| (a.into_duplex(), b.into_duplex()))
            }

            fn pair() -> Result<(Connection, Connection), PipeError> {
                Ok($pair)
            }
        }
    };
}

met!(Local, meet(Address::unique()?));
met!(Tcp, meet(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()));
met!(Unix, {
    let adopt = |stream| Connection::try_from(OwnedFd::from(stream)).unwrap();
    let (a, b): (UnixStream, UnixStream) = UnixStream::pair().unwrap();
    (adopt(a), adopt(b))
});

mod local {
    crate::suite::contract!(local, crate::Local;);
}

/// The cases without handles on the way. The macro calls `contract!` with them, and with further ones.
macro_rules! streams {
    ($method:ident, $type:ty; $($more:ident::$case:ident)*) => {
        mod $method {
            crate::suite::contract!(only $method, $type;
                values::values_go_both_ways
                values::values_without_bytes
                values::every_size_comes_back
                values::messages_keep_their_order
                values::other_codecs
                values::a_value_that_does_not_decode_costs_one_message
                values::a_panic_while_decoding_costs_one_message
                values::reentrant_encoding_and_decoding
                limits::at_the_limit_and_above
                limits::the_receivers_limit_is_lower
                deadlines::nothing_there
                deadlines::giving_up_inside_a_large_message
                deadlines::a_receiver_gives_up_inside_a_message
                threads::many_senders_on_one_end
                threads::many_receivers_on_one_end
                threads::a_blocked_receiver_is_in_nobodys_way
                threads::a_blocked_sender_is_in_nobodys_way
                ends::everything_sent_is_there_before_the_end
                ends::unread_messages_hide_nothing
                ends::the_end_wakes_a_receiver
                ends::the_end_wakes_a_sender
                ends::leaving_both_ends_unused
                bytes::bytes_of_every_size_come_back
                bytes::bytes_too_many_for_a_buffer_are_not_lost
                bytes::bytes_above_a_limit_are_refused
                bytes::bytes_give_up_in_every_form
                bytes::bytes_and_values_are_one_connection
                bytes::bytes_over_a_descriptor
                bytes::bytes_half_received_stay_where_they_are
                ways::halves_in_two_threads
                $($more::$case)*
            );
        }
    };
}

// Who has not heard yet that nobody is there sends into the void: `bytes_none_is_not_the_end`, `sending_to_nobody`. And
// nobody hears that a receiving half was dropped: `halves_end_one_direction`. And it takes seconds to fill the buffers of
// TCP with messages of a few bytes: `full_until_drained`.
streams!(tcp, crate::Tcp;);
streams!(unix, crate::Unix;
    bytes::bytes_none_is_not_the_end
    ends::sending_to_nobody
    deadlines::full_until_drained
    ways::halves_end_one_direction
);
