//! What a pair of typed ends promises, whatever the other end runs in: a thread, or a process.
//!
//! A case is generic over the [`Method`] that starts the other end and runs twice under the leak counter, so each of
//! them also shows that no descriptor stays open. [`contract!`] makes the tests.

pub(crate) mod bytes;
pub(crate) mod deadlines;
pub(crate) mod ends;
pub(crate) mod limits;
pub(crate) mod moving;
pub(crate) mod threads;
pub(crate) mod values;
pub(crate) mod ways;

use std::time::Duration;

use procession_codec::Message;
use procession_pipe::{Connection, Duplex, PipeError};

/// A time that nothing here takes.
pub(crate) const FAR: Duration = Duration::from_secs(50);
/// A time for what is expected not to happen.
pub(crate) const SOON: Duration = Duration::from_millis(10);

/// How the other end is run.
pub(crate) trait Method {
    fn start<A, R>(task: fn(A) -> R, argument: A) -> Peer<R>
    where
        A: Message + Send + 'static,
        R: Message + Send + 'static;

    /// Two connected ends, as most cases begin.
    #[allow(clippy::type_complexity, reason = "two mirrored ends are clearer than an alias for them")]
    fn pipe<S: Message, R: Message>() -> Result<(Duplex<S, R>, Duplex<R, S>), PipeError> {
        procession_pipe::pipe()
    }

    /// The same, of bytes.
    fn pair() -> Result<(Connection, Connection), PipeError> {
        Connection::pair()
    }
}

/// The other end, running.
#[must_use]
pub(crate) struct Peer<R>(pub(crate) Box<dyn FnOnce() -> R>);

impl<R> Peer<R> {
    /// Waits for its end.
    pub(crate) fn join(self) -> R {
        (self.0)()
    }
}

/// Bytes of which none stands for its neighbour.
pub(crate) fn pattern(len: usize) -> procession_codec::Bytes {
    (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect::<Vec<_>>().into()
}

/// The tests of one method, and further ones that only this method has.
macro_rules! contract {
    (only $method:ident, $type:ty; $($module:ident::$case:ident)*) => {
        crate::suite::contract! { @tests $method, $type; {} $($module::$case)* }
    };
    ($method:ident, $type:ty; $($extra:ident::$more:ident)*) => {
        crate::suite::contract! { @tests $method, $type;
            { $($extra::$more)* }
            values::values_go_both_ways
            values::values_without_bytes
            values::every_size_comes_back
            values::messages_keep_their_order
            values::other_codecs
            values::a_value_that_does_not_decode_costs_one_message
            values::a_value_that_does_not_encode_leaves_no_trace
            values::a_panic_while_encoding_leaves_no_trace
            values::a_panic_while_decoding_costs_one_message
            values::reentrant_encoding_and_decoding
            limits::at_the_limit_and_above
            limits::the_receivers_limit_is_lower
            limits::the_limit_travels_with_the_end
            moving::a_descriptor_travels
            moving::six_hundred_descriptors_travel
            moving::moving_in_a_message
            moving::moving_back_and_forth
            moving::moving_as_a_result
            moving::moving_takes_waiting_messages_along
            moving::moving_is_rolled_back
            moving::moving_through_itself
            moving::moving_through_its_twin
            moving::moving_with_a_value_that_is_given_up
            moving::moving_while_a_thread_receives
            moving::moving_while_a_thread_waits
            moving::moving_while_a_message_is_half_received
            deadlines::nothing_there
            deadlines::full_until_drained
            deadlines::giving_up_inside_a_large_message
            deadlines::giving_up_and_going_away
            deadlines::a_receiver_gives_up_inside_a_message
            threads::many_senders_on_one_end
            threads::many_receivers_on_one_end
            threads::a_blocked_receiver_is_in_nobodys_way
            threads::a_blocked_sender_is_in_nobodys_way
            ends::everything_sent_is_there_before_the_end
            ends::the_last_message_is_not_overtaken_by_the_end
            ends::sending_to_nobody
            ends::unread_messages_hide_nothing
            ends::the_end_wakes_a_receiver
            ends::the_end_wakes_a_sender
            ends::leaving_both_ends_unused
            bytes::bytes_of_every_size_come_back
            bytes::bytes_none_is_not_the_end
            bytes::bytes_too_many_for_a_buffer_are_not_lost
            bytes::bytes_above_a_limit_are_refused
            bytes::bytes_give_up_in_every_form
            bytes::bytes_and_values_are_one_connection
            bytes::bytes_over_a_descriptor
            bytes::bytes_move_with_their_connection
            bytes::bytes_half_received_stay_where_they_are
            bytes::bytes_come_without_the_handles_beside_them
            ways::channel_one_way
            ways::channel_hears_of_the_end
            ways::channel_ends_move
            ways::halves_in_two_threads
            ways::halves_end_one_direction
            ways::halves_are_put_together
            ways::handles_of_every_kind_in_one_message
        }
    };
    (@tests $method:ident, $type:ty; { $($extra:ident::$more:ident)* } $($module:ident::$case:ident)*) => {
        mod contract {
            mod pipe {
                mod duplex {
                    mod $method {
                        $(
                            #[test]
                            fn $case() {
                                procession_testkit::counted(crate::suite::$module::$case::<$type>);
                            }
                        )*
                        $(
                            #[test]
                            fn $more() {
                                procession_testkit::counted(crate::$extra::$more);
                            }
                        )*
                    }
                }
            }
        }
    };
}
pub(crate) use contract;
