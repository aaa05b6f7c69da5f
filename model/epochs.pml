/*
 * How one Lamport epoch follows another: what is written, acknowledged, sealed,
 * cut and final (the rules L1 to L9 of the protocol). Three members, all of them
 * voters of the control log; members crash and come back with their disks; two
 * leaders of the control log, of different terms, change the view at once.
 *
 * A final list is a number: how much of `canon` a member shows. Whoever makes an
 * entry final first appends it there; everybody else has to find the same entry at
 * the same place (U1). The other assertions name their invariant.
 *
 * What is more permissive than the protocol, so that it covers every schedule:
 * a message is lost, late or doubled as the search likes, for a receiver may take
 * at any time, or never, what was said last; and an Epoch that was proposed in any
 * term is committed at any time or never.
 *
 * A macro named in check.sh makes one deliberate mistake; the search must find it.
 */

#ifndef WRITTEN
#define WRITTEN 3 /* entries at most: the i-th is of member i mod 3 */
#endif
#ifndef CLOSED
#define CLOSED 2 /* epochs that are closed at most */
#endif
#ifndef CRASHES
#define CRASHES 1 /* at most, of all members together */
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

/* by(view) is the set of all entries that members of a view write, ever. */
#define by(view) ((in(0, view) * 73 + in(1, view) * 146 + in(2, view) * 36) & (bit(WRITTEN) - 1))

/* Entries. An entry's past is all that its author held when it wrote it. */
byte ts[WRITTEN];   /* 0: not written */
byte past[WRITTEN];

/* The control log: epochs 0 to top are committed. cut[e] closes epoch e. */
byte top = 0;
byte view[CLOSED + 1];
byte cut[CLOSED];

/* Members: what is durable ... */
byte disk[N];     /* entries */
byte epoch[N];
bool sealed[N];
byte sealHave[N]; /* entries that were durable when it sealed */
byte shown[N];    /* length of the final list */
byte emitted[N];  /* the same, as a set */

/* ... and what a crash forgets. */
byte held[N];      /* entries accepted, durable or not */
byte ackEpoch[9];  /* of the newest Ack that member i/3 heard of member i%3 */
byte ackHave[9];
bool changing[2];  /* member i runs a view change in term i */
byte changes[2];   /* the epoch that it closes */
byte answered[2];  /* members whose SealOK it has */
byte united[2];    /* entries that they hold */

/* What is on its way. */
byte saidEpoch[N]; /* the Ack that a member said last */
byte saidHave[N];
bool proposed[2];  /* an Epoch, in term i */
byte propBase[2];
byte propView[2];
byte propCut[2];

/* What only the checks know. */
byte canon[WRITTEN];
byte length = 0;
byte finals[CLOSED + 1]; /* natives that became final while their epoch was open */
byte crashes = 0;

hidden byte k, best, want, floor, m, q, ok, at;

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

/* clock sets floor to the lower of itself and the highest ts of a set (L4). */
inline clock(set) {
	at = 0;
	k = 0;
	do
	:: k < WRITTEN ->
		if
		:: in(k, set) && ts[k] > at -> at = ts[k]
		:: else
		fi;
		k++
	:: else -> break
	od;
	if
	:: at < floor -> floor = at
	:: else
	fi
}

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

/* What member x acknowledges: its disk, frozen while it is sealed (L3). */
#ifdef NO_FREEZE
#define content(x) (disk[x])
#elif defined(ACK_EARLY)
#define content(x) (sealed[x] -> sealHave[x] : held[x])
#else
#define content(x) (sealed[x] -> sealHave[x] : disk[x])
#endif
#ifdef SELF_MOVES
#define own(x) (disk[x])
#else
#define own(x) content(x)
#endif

/* Natives of the open epoch of x that x holds and has not emitted (L5). */
#define before(e) ((e) > 0 -> cut[((e) > 0 -> (e) - 1 : 0)] : 0)
#define waiting(x) (held[x] & by(view[epoch[x]]) & ~before(epoch[x]) & ~emitted[x])

/* settle makes the first native final, if it is stable (L6). */
inline settle(me) {
	want = waiting(me);
	first(want);
	m = best;
	ok = true;
	floor = NONE;
	q = 0;
	do
	:: q < N ->
		if
		:: !in(q, view[epoch[me]])
		:: else ->
			if
			:: q == me -> want = own(me)
			:: else ->
				want = ackHave[3 * me + q];
#ifndef ANY_EPOCH
				if
				:: ackEpoch[3 * me + q] != epoch[me] + 1 -> ok = false
				:: else
				fi
#endif
			fi;
#ifndef BLIND_CLOCK
			if
			:: !covers(held[me], want & by(bit(q))) -> ok = false
			:: else
			fi;
#endif
#ifndef UNCOVERED
			if
			:: !in(m, want) -> ok = false
			:: else
			fi;
#endif
			clock(want)
		fi;
		q++
	:: else -> break
	od;
	if
	:: ok && ts[m] <= floor ->
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

/* write has x write entry i (L1). */
inline write(me, e) {
	floor = NONE;
	want = held[me];
	clock(want);
	ts[e] = floor + 1;
	past[e] = held[me];
	held[me] = held[me] | bit(e);
	floor = NONE;
	want = saidHave[me];
	clock(want);
	assert(ts[e] > floor) /* L-1 */
}

/* open closes the open epoch of x at its cut and opens the next (L9 step 5). */
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
	sealHave[me] = 0
}

/* crash leaves x its disk alone. What it wrote and did not sync was never written:
 * nobody else has it. */
inline crash(me) {
	crashes++;
	k = 0;
	do
	:: k < WRITTEN ->
		if
		:: author(k) == me && in(k, held[me]) && !in(k, disk[me]) -> ts[k] = 0; past[k] = 0
		:: else
		fi;
		k++
	:: else -> break
	od;
	held[me] = disk[me];
	q = 0;
	do
	:: q < N -> ackEpoch[3 * me + q] = 0; ackHave[3 * me + q] = 0; q++
	:: else -> break
	od;
#ifdef FORGET_SEAL
	sealed[me] = false;
	sealHave[me] = 0;
#endif
	if
	:: me < 2 -> changing[me] = false; changes[me] = 0; answered[me] = 0; united[me] = 0
	:: else
	fi
}

/* May x write entry i: its own next one. */
#define canWrite(x, i) (i < WRITTEN && author(i) == x && ts[i] == 0 && (i < N || ts[(i >= N -> i - N : 0)] > 0))

/* May x accept entry i: another has it on disk, and its past is here (L2). */
#define canAccept(x, i) (i < WRITTEN && !in(i, held[x]) && in(i, disk[0] | disk[1] | disk[2]) && covers(held[x], past[i]))

/* May x hear the Ack that y said last: it is newer than the one it has (L3). */
#define canHear(x, y) (x != y && saidEpoch[y] > epoch[x] && (saidEpoch[y] > ackEpoch[3 * x + y] || \
	(saidEpoch[y] == ackEpoch[3 * x + y] && saidHave[y] != ackHave[3 * x + y] && covers(saidHave[y], ackHave[3 * x + y]))))

#define WRITE(i) :: d_step { canWrite(x, i) -> write(x, i) }
#define ACCEPT(i) :: d_step { canAccept(x, i) -> held[x] = held[x] | bit(i) }
#define HEAR(y) :: d_step { canHear(x, y) -> ackEpoch[3 * x + y] = saidEpoch[y]; ackHave[3 * x + y] = saidHave[y] }

proctype Member(byte x) {
end:
	do
	WRITE(x)
	WRITE(x + 3)
	ACCEPT(0)
	ACCEPT(1)
	ACCEPT(2)
	ACCEPT(3)
	HEAR(0)
	HEAR(1)
	HEAR(2)
	:: d_step { held[x] != disk[x] -> disk[x] = held[x] } /* fsync */
	:: d_step { /* say an Ack (L3); it carries its epoch plus 1, and 0 is none */
		in(x, view[epoch[x]]) && (saidEpoch[x] != epoch[x] + 1 || saidHave[x] != content(x)) ->
		saidEpoch[x] = epoch[x] + 1;
		saidHave[x] = content(x)
	   }
	:: d_step { waiting(x) != 0 -> settle(x) }
	:: d_step { /* asked to seal, by either leader (L9 step 1); durable at once */
		!sealed[x] && ((changing[0] && changes[0] == epoch[x]) || (changing[1] && changes[1] == epoch[x])) ->
		sealed[x] = true;
		sealHave[x] = disk[x]
	   }
	:: d_step { epoch[x] < top && covers(disk[x], cut[epoch[x]]) -> open(x) }
	:: d_step { crashes < CRASHES -> crash(x) }
	od
}

#ifdef NO_VIEW_MEMBER
#define enough(c) (count(answered[c]) >= 2)
#elif defined(NO_QUORUM)
#define enough(c) ((answered[c] & view[changes[c]]) != 0)
#else
#define enough(c) (count(answered[c]) >= 2 && (answered[c] & view[changes[c]]) != 0)
#endif
#ifdef LONELY_CUT
#define union(c) (disk[c] & by(view[changes[c]]))
#else
#define union(c) (united[c] & by(view[changes[c]]))
#endif
#define copied(c) (covers(disk[c], union(c)) && \
	covers(disk[0], union(c)) + covers(disk[1], union(c)) + covers(disk[2], union(c)) >= 2)

#define SEALED(v) :: d_step { changing[c] && epoch[v] == changes[c] && sealed[v] && !in(v, answered[c]) -> \
	answered[c] = answered[c] | bit(v); united[c] = united[c] | sealHave[v] }
#define PROPOSE(next) :: d_step { changing[c] && epoch[c] == changes[c] && !proposed[c] && enough(c) && copied(c) -> \
	proposed[c] = true; propBase[c] = changes[c]; propView[c] = next; \
	propCut[c] = before(changes[c]) | union(c); \
	changing[c] = false; changes[c] = 0; answered[c] = 0; united[c] = 0 }

/* The leader of the control log in term c, which runs at member c. */
proctype Leader(byte c) {
end:
	do
	:: d_step { !changing[c] && !proposed[c] && epoch[c] < CLOSED -> changing[c] = true; changes[c] = epoch[c] }
	:: d_step { changing[c] && changes[c] != epoch[c] -> changing[c] = false; changes[c] = 0; answered[c] = 0; united[c] = 0 }
	SEALED(0)
	SEALED(1)
	SEALED(2)
	PROPOSE(3)
	PROPOSE(5)
	PROPOSE(6)
	PROPOSE(7)
	:: d_step { /* committed; the first of a base wins (L9 step 4) */
		proposed[c] ->
		if
		:: propBase[c] == top ->
			assert(covers(propCut[c], finals[top])); /* L-4 */
			cut[top] = propCut[c];
			top++;
			view[top] = propView[c]
		:: else
		fi;
		proposed[c] = false;
		propBase[c] = 0;
		propView[c] = 0;
		propCut[c] = 0
	   }
	od
}

init {
	atomic {
		view[0] = FIRST;
		run Member(0);
		run Member(1);
		run Member(2);
		run Leader(0);
		run Leader(1)
	}
}
