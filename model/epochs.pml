/*
 * How one Lamport epoch follows another: what is written, acknowledged, sealed,
 * cut and final (the rules L1 to L9 of the protocol). Three members, all of them
 * voters of the control log; members crash and come back with their disks; leaders
 * of two terms change the view at once.
 *
 * Every schedule is covered, and more than every schedule:
 *  - A message that was sent is never gone. Whoever makes use of it may do so at
 *    any time or never, so loss, delay, doubling and reordering need no step of
 *    their own, and neither do the messages: what was said is a set.
 *  - A member acknowledges whenever it can. Nobody has to listen.
 *  - What another wrote is durable as soon as it is accepted: until then it is as if
 *    it had not come. What a member wrote itself is durable a step later.
 *  - Anybody may be asked to seal at any time, and a leader may count any of those
 *    who did. A proposed Epoch is committed at any time or never, whatever its term.
 *
 * A final list is a number: how much of `canon` a member shows. Whoever makes an
 * entry final first appends it there; everybody else has to find the same entry at
 * the same place (U1). The other assertions name their invariant.
 *
 * A macro that check.sh sets makes one deliberate mistake. The search must find it.
 */

#ifndef WRITTEN
#define WRITTEN 3 /* entries at most, up to 4: the i-th is of member i mod 3 */
#endif
#ifndef CLOSED
#define CLOSED 2 /* epochs that are closed at most */
#endif
#ifndef CRASHES
#define CRASHES 1 /* of all members together */
#endif
#ifndef FIRST
#define FIRST 7 /* view of epoch 0: a set of members, as bits */
#endif

#define N 3
#define NONE 255
#define author(i) ((i) % N)
#define bit(i) (1 << (i))
#define in(i, set) (((set) >> (i)) & 1)
#define covers(a, b) (((b) & ~(a)) == 0)
#define count(set) (in(0, set) + in(1, set) + in(2, set))

/* by(v) is the set of all entries that the members in v write, ever. */
#define by(v) ((in(0, v) * 9 + in(1, v) * 2 + in(2, v) * 4) & (bit(WRITTEN) - 1))

/* Entries. An entry's past is all that its author held when it wrote it. */
byte ts[WRITTEN]; /* 0: not written */
byte past[WRITTEN];

/* The control log: epochs 0 to top are committed, and cut[e] closes e. */
byte top;
byte view[CLOSED + 1];
byte cut[CLOSED + 1];

/* Members. Of all this a crash forgets what is held and not on disk. */
byte held[N]; /* entries accepted */
byte disk[N]; /* entries durable */
byte epoch[N];
bool sealed[N];
byte sealHave[N]; /* what was durable when it sealed */
byte shown[N];    /* length of the final list */
byte emitted[N];  /* the same, as a set of entries */

/* What was sent. */
#define at(x, e) (3 * (e) + (x))
short acks[3 * (CLOSED + 1)]; /* in epoch e by member x: a set of sets of entries */
bool answered[3 * (CLOSED + 1)]; /* SealOK */
byte answer[3 * (CLOSED + 1)];

/* An Epoch that the leader of the older term proposed and that is not committed. */
bool proposed;
byte propBase;
byte propView;
byte propCut;

/* What only the checks know. */
byte canon[WRITTEN];
byte length;
byte finals[CLOSED + 1]; /* natives that became final while their epoch was open */
byte crashes;

hidden byte k, best, want, height, m, q, a, ok, heard;

/* first sets best to the lowest of a set in the order (ts, author, seq). */
inline first(set) {
	best = NONE;
	k = 0;
	do
	:: k < WRITTEN ->
		if
		:: in(k, set) && (best == NONE || ts[k] < ts[best] || (ts[k] == ts[best] && author(k) < author(best))) -> best = k
		:: else
		fi;
		k++
	:: else -> break
	od
}

/* clock sets height to the highest ts of a set (L4). */
inline clock(set) {
	height = 0;
	k = 0;
	do
	:: k < WRITTEN ->
		if
		:: in(k, set) && ts[k] > height -> height = ts[k]
		:: else
		fi;
		k++
	:: else -> break
	od
}

/* What a member acknowledges: its disk, frozen while it is sealed (L3) ... */
#ifdef NO_FREEZE
#define content(x) (disk[x])
#elif defined(ACK_EARLY)
#define content(x) (sealed[x] -> sealHave[x] : held[x])
#else
#define content(x) (sealed[x] -> sealHave[x] : disk[x])
#endif
/* ... and what it counts for itself: the same (L6). */
#ifdef SELF_MOVES
#define own(x) (disk[x])
#else
#define own(x) (content(x))
#endif

/* say acknowledges, if the member is in the view (L3). */
inline say(me) {
	if
	:: in(me, view[epoch[me]]) -> acks[at(me, epoch[me])] = acks[at(me, epoch[me])] | bit(content(me))
	:: else
	fi
}

/* write has a member write entry e (L1). */
inline write(me, e) {
	want = held[me];
	clock(want);
	ts[e] = height + 1;
	past[e] = held[me];
	held[me] = held[me] | bit(e);
	a = 0;
	do /* L-1: every clock that it ever promised is lower */
	:: a < bit(WRITTEN) ->
		q = 0;
		do
		:: q <= CLOSED ->
			if
			:: in(a, acks[at(me, q)]) -> clock(a); assert(height < ts[e])
			:: else
			fi;
			q++
		:: else -> break
		od;
		a++
	:: else -> break
	od
}

/* Natives of the open epoch that a member holds and has not emitted (L5). */
#define before(e) ((e) > 0 -> cut[(e) - ((e) > 0)] : 0)
#define waiting(x) (held[x] & by(view[epoch[x]]) & ~before(epoch[x]) & ~emitted[x])

/* emit makes a native final, its causal past first (L7). */
inline emit(me, native) {
	want = (past[native] | bit(native)) & ~emitted[me];
	do
	:: want == 0 -> break
	:: else ->
		first(want);
		if
		:: shown[me] < length -> assert(canon[shown[me]] == best) /* U1 */
		:: else -> canon[length] = best; length++
		fi;
		shown[me]++;
		emitted[me] = emitted[me] | bit(best);
		want = want & ~bit(best)
	od
}

/* An Ack with this content counts for native m at member x (L6). */
#ifdef UNCOVERED
#define counts(x, y, have) (height >= ts[m] && covers(held[x], (have) & by(bit(y))))
#elif defined(BLIND_CLOCK)
#define counts(x, y, have) (height >= ts[m] && in(m, have))
#else
#define counts(x, y, have) (height >= ts[m] && in(m, have) && covers(held[x], (have) & by(bit(y))))
#endif
#ifdef ANY_EPOCH
#define said(x, e) (acks[x] | acks[at(x, (CLOSED > 0))] | acks[at(x, CLOSED)])
#else
#define said(x, e) (acks[at(x, e)])
#endif

/* settle makes the first native final, if it is stable (L6). */
inline settle(me) {
	want = waiting(me);
	first(want);
	m = best;
	ok = true;
	q = 0;
	do
	:: q < N ->
		heard = !in(q, view[epoch[me]]);
		if
		:: heard
		:: !heard && q == me -> a = own(me); clock(a); heard = counts(me, q, a)
		:: else ->
			a = 0;
			do
			:: a < bit(WRITTEN) && !heard ->
				if
				:: in(a, said(q, epoch[me])) -> clock(a); heard = counts(me, q, a)
				:: else
				fi;
				a++
			:: else -> break
			od
		fi;
		ok = ok && heard;
		q++
	:: else -> break
	od;
	if
	:: ok ->
		q = 0;
		do
		:: q < N ->
			assert(!in(q, view[epoch[me]]) || in(m, disk[q])); /* L-6 */
			q++
		:: else -> break
		od;
		assert(top == epoch[me] || in(m, cut[epoch[me]])); /* L-4 */
		finals[epoch[me]] = finals[epoch[me]] | bit(m);
		emit(me, m)
	:: else
	fi
}

/* open closes a member's epoch at its cut and opens the next (L9 step 5). */
inline open(me) {
	m = waiting(me) & cut[epoch[me]];
	do
	:: m == 0 -> break
	:: else ->
		first(m);
		m = m & ~bit(best);
		q = best;
		if
		:: !in(q, emitted[me]) -> emit(me, q)
		:: else
		fi
	od;
	epoch[me]++;
	sealed[me] = false;
	sealHave[me] = 0;
	say(me)
}

/* seal answers a leader (L9 step 1); it is durable before it is said. */
inline seal(me) {
	sealed[me] = true;
	sealHave[me] = disk[me];
	if
	:: !answered[at(me, epoch[me])] -> answered[at(me, epoch[me])] = true; answer[at(me, epoch[me])] = disk[me]
	:: else /* a leader may still have what was said before a crash */
	fi
}

/* crash leaves a member its disk alone. What it wrote and did not make durable was
 * never written: nobody else has it. */
inline crash(me) {
	crashes++;
	k = 0;
	do
	:: k < WRITTEN ->
		if
		:: author(k) == me && in(k, held[me] & ~disk[me]) -> ts[k] = 0; past[k] = 0
		:: else
		fi;
		k++
	:: else -> break
	od;
	held[me] = disk[me];
#ifdef FORGET_SEAL
	sealed[me] = false;
	sealHave[me] = 0;
#endif
	skip
}

/* May a member write entry i: its own next one. */
#define canWrite(x, i) ((i) < WRITTEN && author(i) == x && ts[i] == 0 && ((i) < N || ts[(i) % N] > 0))

/* May a member accept entry i: another has it on disk, and its past is here (L2). */
#define canAccept(x, i) ((i) < WRITTEN && !in(i, held[x]) && in(i, disk[0] | disk[1] | disk[2]) && covers(held[x], past[i]))

#define WRITE(i) :: d_step { canWrite(x, i) -> write(x, i); sync(x) say(x); k = 0 }
#ifdef ACK_EARLY
#define sync(x)
#else
#define sync(x) disk[x] = held[x];
#endif
#define ACCEPT(i) :: d_step { canAccept(x, i) -> held[x] = held[x] | bit(i); sync(x) say(x); k = 0 }

proctype Member(byte x) {
end:
	do
	WRITE(0)
	WRITE(1)
	WRITE(2)
	ACCEPT(0)
	ACCEPT(1)
	ACCEPT(2)
#if WRITTEN > 3
	WRITE(3)
	ACCEPT(3)
#endif
	:: d_step { held[x] != disk[x] -> disk[x] = held[x]; say(x); k = 0 } /* fsync */
	:: d_step { waiting(x) != 0 -> settle(x); k = 0 }
	:: d_step { !sealed[x] && epoch[x] < CLOSED -> seal(x); k = 0 }
	:: d_step { epoch[x] < top && covers(disk[x], cut[epoch[x]]) -> open(x); k = 0 }
	:: d_step { crashes < CRASHES -> crash(x) }
	od
}

/* What the members in a set said to have had when they sealed in epoch e. */
#define all(e, set) ((!in(0, set) || answered[at(0, e)]) && (!in(1, set) || answered[at(1, e)]) && (!in(2, set) || answered[at(2, e)]))
#define united(e, set) (in(0, set) * answer[at(0, e)] | in(1, set) * answer[at(1, e)] | in(2, set) * answer[at(2, e)])

/* Are they enough (L9 step 2). */
#ifdef NO_VIEW_MEMBER
#define enough(e, set) (count(set) >= 2)
#elif defined(NO_QUORUM)
#define enough(e, set) ((set & view[e]) != 0)
#else
#define enough(e, set) (count(set) >= 2 && (set & view[e]) != 0)
#endif

/* The cut that a leader proposes (L9 step 4), and whether it has it, and a majority
 * of the voters too (L9 step 3). */
#ifdef LONELY_CUT
#define union(e, set) (before(e) | (disk[c] & by(view[e])))
#else
#define union(e, set) (before(e) | (united(e, set) & by(view[e])))
#endif
#define copied(set) (covers(disk[c], set) && covers(disk[0], set) + covers(disk[1], set) + covers(disk[2], set) >= 2)

/* commit appends an Epoch to the control log; the first of a base wins (L9 step 4). */
inline commit(base, next, to) {
	if
	:: base == top ->
		cut[top] = to;
		assert(covers(cut[top], finals[top])); /* L-4 */
		view[top + 1] = next;
		top++
	:: else
	fi
}

/* The leader of the older term proposes, and may be slow to commit; that of the newer
 * commits at once. All members are in the next view, or two: a majority of the voters. */
#define may(set) (epoch[c] < CLOSED && all(epoch[c], set) && enough(epoch[c], set) && copied(union(epoch[c], set)))
#define PROPOSE(set, next) \
	:: d_step { c == 0 && !proposed && epoch[c] == top && may(set) -> \
		proposed = true; propBase = epoch[c]; propView = next; propCut = union(epoch[c], set) } \
	:: d_step { c == 1 && epoch[c] == top && may(set) -> k = epoch[c]; want = union(k, set); commit(k, next, want); k = 0 }
#define PROPOSE_ANY(next) PROPOSE(1, next) PROPOSE(2, next) PROPOSE(3, next) PROPOSE(4, next) PROPOSE(5, next) PROPOSE(6, next) PROPOSE(7, next)

proctype Leader(byte c) {
end:
	do
	PROPOSE_ANY(7)
	PROPOSE_ANY(3 << c)
	:: d_step { c == 0 && proposed ->
		commit(propBase, propView, propCut);
		proposed = false; propBase = 0; propView = 0; propCut = 0 }
	od
}

init {
	d_step {
		view[0] = FIRST;
		say(0);
		say(1);
		say(2)
	}
	atomic {
		run Member(0);
		run Member(1);
		run Member(2);
		run Leader(0);
		run Leader(1)
	}
}
