//! Workers that lie, die and leave damaged journals, played by the test: what the crew makes of it.

use procession_codec::{Codec, Postcard};
use procession_pipe::{Duplex, pipe};
use procession_testkit::guarded;

use super::*;
use crate::rules::Rules;
use crate::sink::Outcome;
use crate::wire::{Answer, Item, Job, Parcel, Reply};

/// A crew of one worker, whose process does nothing: we hold its end of the pipe and write its journal.
struct Stage {
    crew: Crew,
    theirs: Duplex<Reply, Job>,
    sink: Arc<Sink>,
}

const JOB: u64 = 99;

fn order(n: usize, sink: &Arc<Sink>) -> Order {
    let items = vec![Item { bytes: 0..0, descriptors: 0..0 }; n];
    let parcel = Parcel::pack(Vec::new()).unwrap();
    let job = Job {
        number: JOB,
        function: vec![0; 40].into(),
        items,
        parcel,
        descriptors: Vec::new(),
        is_timed: false,
        attempt: 1,
        n_now: n,
        extra: crate::origin::Extra::default(),
    };
    Order::new(job, 11, 0, sink, Rules::DEFAULT)
}

impl Stage {
    /// The worker has a job of `n` items, tasks 11 and on.
    fn with_job(n: usize) -> Self {
        Self::with_rules(n, Rules::DEFAULT)
    }

    fn with_rules(n: usize, rules: Rules) -> Self {
        let mut crew = Crew::start(&"crew".into(), Settings::of(1)).unwrap();
        let (jobs, theirs) = pipe().unwrap();
        let mut worker = Arc::into_inner(crew.places[0].worker.take().unwrap()).unwrap();
        worker.jobs = jobs;
        worker.journal.set_ready();
        let sink = Arc::default();
        let mut order = order(n, &sink);
        order.rules = rules;
        let running = Some(order);
        crew.places[0] = Place { worker: Some(Arc::new(worker)), running, ..Place::default() };
        Self { crew, theirs, sink }
    }

    fn worker(&self) -> Arc<Worker> {
        Arc::clone(self.crew.places[0].worker.as_ref().unwrap())
    }

    /// The worker says in its lane that it is done.
    fn finish(&self, nanos: u64) {
        self.worker().lane().finish(JOB, nanos, 0);
    }

    /// The worker is killed; the crew settles what it leaves.
    fn die(&mut self) {
        self.worker().process.kill().unwrap();
        self.worker().process.wait().unwrap();
        self.crew.bury(0);
        assert!(self.crew.places[0].worker.is_none());
    }

    /// All outcomes so far: `Some` for a value, `None` for a death that names its task.
    fn outcomes(&self) -> Vec<Option<u8>> {
        let mut told = Vec::new();
        while let Some((index, outcome)) = self.sink.take(None, Deadline::now()) {
            assert_eq!(index, told.len(), "each once, without a gap");
            told.push(tell(outcome, 11 + index as u64));
        }
        told
    }

    /// Looks after limits, as the collector does; whether the worker is being ended for one.
    fn is_overdue(&mut self) -> bool {
        self.crew.next_limit();
        self.crew.end_slow();
        self.crew.places[0].lost.is_some()
    }

    /// First task and number of items of each waiting order.
    fn waiting(&self) -> Vec<(u64, usize)> {
        self.crew.waiting.iter().map(|order| (order.task, order.job.items.len())).collect()
    }
}

fn tell(outcome: Outcome, number: u64) -> Option<u8> {
    match outcome {
        Ok(value) => Some(value.bytes[0]),
        Err(TaskFailed::WorkerDied { task, .. }) => {
            assert_eq!(task.number, number);
            None
        }
        Err(other) => panic!("{other:?}"),
    }
}

fn answer(value: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    Postcard::encode_into(&Answer::Value(vec![value].into()), &mut bytes).unwrap();
    bytes
}

/// Answers as a message has them.
fn block(values: &[u8]) -> Parcel {
    let framed = values.iter().map(|value| answer(*value));
    let bytes =
        framed.flat_map(|a| [&u32::try_from(a.len()).unwrap().to_le_bytes()[..], &a].concat()).collect();
    Parcel::pack(bytes).unwrap()
}

fn answers(first: u64, n: u64, parcel: Parcel) -> Reply {
    Reply::Answers { job: JOB, first, n, parcel, descriptors: Vec::new() }
}

#[test]
fn nobody_is_started_after_the_end() {
    guarded(|| {
        let mut crew = Crew::start(&"crew".into(), Settings::of(2)).unwrap();
        let workers = crew.end();
        assert_eq!((workers.len(), crew.n_started), (2, 2));
        crew.pump();
        assert_eq!(crew.n_started, 2);
        assert!(crew.is_deserted() && crew.is_done());
    });
}

#[test]
fn dead_before_the_job_began() {
    guarded(|| {
        let mut stage = Stage::with_job(5);
        stage.die();
        assert_eq!((stage.outcomes(), stage.waiting()), (vec![], vec![(11, 5)]));
        assert_eq!(stage.crew.failed_starts, 0, "it was ready once");
    });
}

#[test]
fn dead_in_the_middle() {
    guarded(|| {
        let mut stage = Stage::with_job(5);
        let worker = stage.worker();
        worker.journal.begin(JOB);
        assert!(worker.journal.start(0));
        assert!(worker.journal.append(&answer(1)));
        assert!(worker.journal.start(1));
        stage.die();
        assert_eq!((stage.outcomes(), stage.waiting()), (vec![Some(1), None], vec![(13, 3)]));
    });
}

#[test]
fn dead_between_two_items_and_after_the_last() {
    guarded(|| {
        for n in [2, 1] {
            let mut stage = Stage::with_job(n);
            let worker = stage.worker();
            worker.journal.begin(JOB);
            assert!(worker.journal.start(0));
            assert!(worker.journal.append(&answer(1)));
            stage.die();
            let rest = if n == 2 { vec![(12, 1)] } else { vec![] };
            assert_eq!((stage.outcomes(), stage.waiting()), (vec![Some(1)], rest));
        }
    });
}

/// Three answers were in a message that never came: these items were begun, so they are not run again.
#[test]
fn a_message_with_answers_is_missing() {
    guarded(|| {
        let mut stage = Stage::with_job(6);
        let worker = stage.worker();
        worker.journal.begin(JOB);
        worker.journal.restart(3);
        assert!(worker.journal.start(3));
        assert!(worker.journal.append(&answer(3)));
        assert!(worker.journal.start(4));
        stage.die();
        assert_eq!((stage.outcomes(), stage.waiting()), (vec![None; 5], vec![(16, 1)]));
    });
}

#[test]
fn the_last_message_of_the_dead_counts() {
    guarded(|| {
        // Killed right after it was sent, and a little later.
        for restarted in [false, true] {
            let mut stage = Stage::with_job(6);
            let worker = stage.worker();
            worker.journal.begin(JOB);
            for value in 0..3 {
                assert!(worker.journal.start(usize::from(value)));
                assert!(worker.journal.append(&answer(value)));
            }
            assert!(worker.journal.start(3));
            stage.theirs.send(&answers(0, 3, block(&[0, 1, 2]))).unwrap();
            if restarted {
                worker.journal.restart(3);
            }
            stage.die();
            let told = vec![Some(0), Some(1), Some(2), None];
            assert_eq!((stage.outcomes(), stage.waiting()), (told, vec![(15, 2)]));
        }
    });
}

/// Nobody knows what was begun: nothing is run again.
#[test]
fn a_damaged_journal() {
    guarded(|| {
        let mut stage = Stage::with_job(4);
        let worker = stage.worker();
        worker.journal.begin(JOB);
        assert!(worker.journal.start(0));
        worker.journal.damage();
        stage.die();
        assert_eq!((stage.outcomes(), stage.waiting()), (vec![None; 4], vec![]));
    });
}

#[test]
fn what_does_not_fit_ends_the_worker() {
    let lies: [fn() -> Reply; 8] = [
        // In the lane: that the job is done.
        || Reply::Bell,
        || answers(1, 1, block(&[7])),
        || answers(0, 0, block(&[])),
        || answers(0, 2, block(&[7])),
        || answers(0, 1, block(&[7, 8])),
        || answers(0, 4, block(&[1, 2, 3, 4])),
        || answers(u64::MAX, u64::MAX, block(&[1])),
        || answers(0, 1, Parcel::pack(vec![255; 8]).unwrap()),
    ];
    guarded(|| {
        for (n, lie) in lies.iter().enumerate() {
            let mut stage = Stage::with_job(3);
            stage.worker().journal.begin(JOB);
            assert!(stage.worker().journal.start(0));
            if n == 0 {
                stage.finish(1);
            }
            stage.theirs.send(&lie()).unwrap();
            stage.crew.listen(0);
            assert_eq!(stage.crew.places[0].lost, Some(BY_ITSELF), "lie {n}");
            stage.die();
            assert_eq!((stage.outcomes(), stage.waiting()), (vec![None], vec![(12, 2)]), "lie {n}");
        }
    });
}

#[test]
fn words_without_a_job_and_garbage() {
    guarded(|| {
        let mut stage = Stage::with_job(1);
        stage.crew.places[0].running = None;
        // A job that it was not given, or not yet, is nobody's.
        stage.finish(1);
        stage.theirs.send(&Reply::Bell).unwrap();
        stage.crew.listen(0);
        assert_eq!(stage.crew.places[0].lost, None);
        stage.theirs.send(&answers(0, 1, block(&[1]))).unwrap();
        stage.crew.listen(0);
        assert_eq!(stage.crew.places[0].lost, Some(BY_ITSELF));

        let mut stage = Stage::with_job(1);
        let socket = stage.theirs.descriptor().unwrap();
        procession_sys::message::Outgoing::new().send(&*socket, &[250; 9], &[], Deadline::now()).unwrap();
        stage.crew.listen(0);
        assert_eq!(stage.crew.places[0].lost, Some(BY_ITSELF));
    });
}

/// A time that nobody can have spent is a bad estimate and nothing worse.
#[test]
fn absurd_times() {
    guarded(|| {
        for nanos in [u64::MAX, 0, u64::MAX] {
            let mut stage = Stage::with_job(1);
            stage.sink.measured(1, u64::MAX);
            stage.worker().journal.begin(JOB);
            assert!(stage.worker().journal.append(&answer(1)));
            stage.finish(nanos);
            stage.crew.listen(0);
            assert!(stage.crew.places[0].is_idle());
            assert!(stage.sink.nanos_per_item() > Some(0));
            assert_eq!(stage.outcomes(), [Some(1)]);
        }
    });
}

/// An order that costs one worker after the other is given up, not those behind it.
#[test]
fn an_order_that_kills_before_it_begins() {
    guarded(|| {
        let (mut stage, mut deaths) = (Stage::with_job(2), 0);
        stage.crew.waiting = Waiting::default();
        let mut order = stage.crew.places[0].running.take().unwrap();
        loop {
            deaths += 1;
            stage.crew.give_back(order, BY_ITSELF, "it dies of it");
            match stage.crew.waiting.pop_front() {
                Some(again) => order = again,
                None => break,
            }
        }
        assert_eq!(deaths, 8);
        let (_, outcome) = stage.sink.take(Some(1), Deadline::now()).unwrap();
        assert!(matches!(outcome, Err(TaskFailed::NoWorker { task, .. }) if task.number == 12));
    });
}

/// A dropped map takes its waiting orders along, and tells the worker that runs one.
#[test]
fn what_nobody_wants_is_forgotten() {
    guarded(|| {
        let mut stage = Stage::with_job(3);
        let other = Arc::default();
        for waits in [order(2, &stage.sink), order(1, &other), order(4, &stage.sink)] {
            stage.crew.waiting.push_back(waits);
        }
        stage.crew.forget(&Arc::clone(&stage.sink));
        assert_eq!(stage.waiting(), [(11, 1)]);
        assert!(stage.worker().journal.is_revoked(JOB));
        stage.worker().journal.begin(JOB);
        stage.finish(1);
        stage.crew.listen(0);
        assert!(stage.crew.places[0].is_idle(), "it may leave out what nobody wants");
    });
}

const NO_TIME: Rules = Rules { timeout: Some(Duration::ZERO), ..Rules::DEFAULT };

/// The task has taken too long; the one after it has not begun, and never does there.
#[test]
fn ended_for_its_limit() {
    guarded(|| {
        for answers_late in [false, true] {
            let mut stage = Stage::with_rules(3, NO_TIME);
            let worker = stage.worker();
            worker.journal.begin(JOB);
            assert!(!stage.is_overdue(), "none has begun");
            assert!(worker.journal.start(0));
            assert!(stage.is_overdue());
            if answers_late {
                // It counts: the value is there.
                assert!(worker.journal.append(&answer(1)));
            }
            assert!(!worker.journal.start(1));
            assert_eq!(stage.crew.next_limit(), Deadline::NEVER, "once is enough");
            stage.worker().process.wait().unwrap();
            stage.crew.bury(0);
            let (_, outcome) = stage.sink.take(Some(0), Deadline::now()).unwrap();
            match outcome {
                Ok(value) => assert!(answers_late && value.bytes == [1]),
                Err(TaskFailed::TimedOut { task, limit: Duration::ZERO, .. }) => {
                    assert!(!answers_late && task.number == 11);
                }
                Err(other) => panic!("{other:?}"),
            }
            assert_eq!((stage.waiting(), stage.crew.failed_starts), (vec![(12, 2)], 0));
        }
    });
}

/// Answers on their way in a message when the limit passed are nobody's loss.
#[test]
fn ended_for_its_limit_after_a_message() {
    guarded(|| {
        let mut stage = Stage::with_rules(4, NO_TIME);
        let worker = stage.worker();
        worker.journal.begin(JOB);
        stage.theirs.send(&answers(0, 2, block(&[1, 2]))).unwrap();
        worker.journal.restart(2);
        assert!(worker.journal.start(2));
        assert!(stage.is_overdue());
        stage.worker().process.wait().unwrap();
        stage.crew.bury(0);
        let outcome = |index| stage.sink.take(Some(index), Deadline::now()).unwrap().1;
        assert_eq!((outcome(0).unwrap().bytes, outcome(1).unwrap().bytes), (vec![1], vec![2]));
        assert!(matches!(outcome(2), Err(TaskFailed::TimedOut { task, .. }) if task.number == 13));
        assert_eq!(stage.waiting(), [(14, 1)]);
    });
}

/// A worker cannot lengthen its time by what it writes.
#[test]
fn a_task_that_says_it_began_later() {
    guarded(|| {
        let mut stage =
            Stage::with_rules(1, Rules { timeout: Some(Duration::from_millis(1)), ..Rules::DEFAULT });
        stage.worker().journal.begin(JOB);
        stage.worker().journal.stamp(u64::MAX);
        assert!(stage.worker().journal.start(0));
        while !stage.is_overdue() {
            std::thread::yield_now();
        }
    });
}
