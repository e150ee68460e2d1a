//! The forms of every call: blocking, `try_`, `_timeout`, `_until`; written once for all types that have them.
//!
//! A type that uses [`sending!`] has `send_by(&self, &T, Deadline)`, one that uses [`receiving!`] has
//! `recv_by(&self, Deadline)` and `wait_by(&self, Deadline)`. Both have `link(&self)`, and the first
//! `sending(&self, &T)`, for the forms that are futures.

/// `send` and its forms, for values of one type.
macro_rules! sending {
    ($value:ty) => {
        /// Sends `value`.
        ///
        /// Encodes it here and blocks while the kernel's buffer is full. Errors come back here; the other end then never
        /// receives the value, and handles in it are still ours. A panic while encoding is as an error. An other end that
        /// goes away, or whose process dies, ends the wait.
        pub fn send(&self, value: &$value) -> Result<(), $crate::SendError> {
            self.send_by(value, ::procession_sys::Deadline::NEVER)
        }

        /// [`send`](Self::send) without waiting: [`SendError::Full`](crate::SendError::Full) if it would have to.
        ///
        /// A value longer than the free part of the kernel's buffer cannot be sent this way.
        pub fn try_send(&self, value: &$value) -> Result<(), $crate::SendError> {
            self.send_by(value, ::procession_sys::Deadline::now()).map_err($crate::SendError::at_once)
        }

        /// [`send`](Self::send) for at most `timeout`.
        pub fn send_timeout(
            &self,
            value: &$value,
            timeout: ::std::time::Duration,
        ) -> Result<(), $crate::SendError> {
            self.send_by(value, ::procession_sys::Deadline::after(timeout))
        }

        /// [`send`](Self::send) until `instant`.
        pub fn send_until(
            &self,
            value: &$value,
            instant: ::std::time::Instant,
        ) -> Result<(), $crate::SendError> {
            self.send_by(value, ::procession_sys::Deadline::at(instant))
        }

        /// [`send`](Self::send) as a future, for any runtime; limits are the runtime's. Encodes now, sends when awaited.
        ///
        /// Dropping it before it has answered leaves nothing half sent: the other end receives nothing of the value, and
        /// handles in it are ours again. While a value that needs several packets is on its way, others wait that want to
        /// send, and the end cannot be moved.
        #[cfg(feature = "async")]
        pub fn send_async(&self, value: &$value) -> $crate::Sending<'_> {
            self.sending(value)
        }
    };
}

/// `recv` and its forms, for values of one type, and the wait for something to receive.
macro_rules! receiving {
    ($value:ty) => {
        /// Receives the next value. Blocks until there is one or the other end is gone.
        ///
        /// A value that does not decode, or panics in doing so, is gone, and the next call receives the next one.
        pub fn recv(&self) -> Result<$value, $crate::RecvError> {
            self.recv_by(::procession_sys::Deadline::NEVER)
        }

        /// The next value if it is there completely: else [`RecvError::Empty`](crate::RecvError::Empty).
        pub fn try_recv(&self) -> Result<$value, $crate::RecvError> {
            self.recv_by(::procession_sys::Deadline::now()).map_err($crate::RecvError::at_once)
        }

        /// [`recv`](Self::recv) for at most `timeout`.
        pub fn recv_timeout(&self, timeout: ::std::time::Duration) -> Result<$value, $crate::RecvError> {
            self.recv_by(::procession_sys::Deadline::after(timeout))
        }

        /// [`recv`](Self::recv) until `instant`.
        pub fn recv_until(&self, instant: ::std::time::Instant) -> Result<$value, $crate::RecvError> {
            self.recv_by(::procession_sys::Deadline::at(instant))
        }

        /// [`recv`](Self::recv) as a future, for any runtime; limits are the runtime's.
        ///
        /// Dropping it loses nothing: what has arrived is for the next call. While it waits the end cannot be moved.
        #[cfg(feature = "async")]
        pub fn recv_async(&self) -> impl Future<Output = Result<$value, $crate::RecvError>> + Send + '_ {
            $crate::future::receiving(self.link(), || self.recv_by(::procession_sys::Deadline::now()))
        }

        /// Waits until a call to receive has something to do: a message, or part of one, is there, or the other end is
        /// gone. `false` if neither came within `timeout`.
        #[doc(alias = "poll")]
        pub fn wait_readable(&self, timeout: ::std::time::Duration) -> Result<bool, $crate::RecvError> {
            self.wait_by(::procession_sys::Deadline::after(timeout))
        }
    };
}

/// Values as they come, until there will be none.
macro_rules! iterating {
    () => {
        /// The values as they come, ending at the first error, as a rule that the other end is gone. Each step blocks as
        /// [`recv`](Self::recv).
        pub fn iter(&self) -> impl Iterator<Item = R> {
            std::iter::from_fn(|| self.recv().ok())
        }
    };
}

pub(crate) use {iterating, receiving, sending};
