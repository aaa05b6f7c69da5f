package dag

import (
	"cmp"
	"encoding/binary"
	"maps"
	"slices"

	"tertulia/ordering"
)

// Limits on membership entries, judged in an entry's causal past. Removals,
// revocations and departures are bounded by what they end.
const (
	MaxInvitesOfDevice = 1024 // a device may write in a room
	MaxReturns         = 16   // times a device may leave a room and be admitted again
)

// census judges who may write. Each membership entry is a fact; an entry's
// rights follow from the set of facts in its causal past, so every replica
// judges alike. Sets are interned: most entries share one, and comparing or
// joining equal sets costs nothing.
type census struct {
	list    []fact
	byKey   map[string]*facts // interned sets
	all     *facts            // every fact held
	creator ordering.Origin
}

type fact struct {
	at     ordering.Key
	hash   ordering.Hash // of the entry: a fork has two at one key
	kind   ordering.Kind
	author ordering.DeviceKey
	device ordering.DeviceKey // whom it concerns
	invite ordering.Invite    // KindInvite, KindGenesis: the invite; KindAdmit, KindRevoke: its key
	name   string
	past   *facts
}

// facts is an immutable set of indices into census.list.
type facts struct {
	bits   []uint64
	member map[ordering.DeviceKey]bool // isMember's answers so far
	known  []Member                    // known's answer
}

func (f *facts) has(i int) bool {
	return f != nil && i/64 < len(f.bits) && f.bits[i/64]&(1<<(i%64)) != 0
}

// Member is a device that may write, or once might.
type Member struct {
	Device  ordering.DeviceKey
	Name    string // its node id
	Creator bool
	Former  bool // left or was removed
}

// InviteProblem says why an invite does not admit.
type InviteProblem string

// The problems; they travel in the answer to a joiner.
const (
	UnknownInvite InviteProblem = "unknown-invite"
	Revoked       InviteProblem = "revoked"
	Expired       InviteProblem = "expired"
	UsedUp        InviteProblem = "used-up"
	Removed       InviteProblem = "removed"
	Full          InviteProblem = "full"
	TooOften      InviteProblem = "too-often" // left MaxReturns times
)

func newCensus() census { return census{byKey: make(map[string]*facts)} }

func changesRights(k ordering.Kind) bool {
	switch k {
	case ordering.KindGenesis, ordering.KindAdmit, ordering.KindInvite, ordering.KindRevoke, ordering.KindLeave, ordering.KindRemove:
		return true
	case ordering.KindKey, ordering.KindNull, ordering.KindMessage, ordering.KindJoined, ordering.KindLeft, ordering.KindRenamed, ordering.KindSwitch, ordering.KindTitle:
	}
	return false
}

// judge returns why e, with seen in its past, is not to be taken, or "".
func (c *census) judge(seen *facts, e *ordering.Entry) ordering.Reason {
	if e.Kind == ordering.KindGenesis {
		if _, err := ordering.DecodeGenesis(e.Body); err != nil {
			return ordering.Malformed
		}
		return ""
	}
	author := e.Origin.Device
	if !c.isMember(seen, author) {
		return ordering.NotMember
	}
	f, ok := c.read(seen, e)
	if !ok {
		return ordering.Malformed
	}
	if e.Kind.Plain() && author != c.creator.Device {
		return ordering.NotAllowed
	}
	if !changesRights(e.Kind) {
		return ""
	}
	allowed := true
	switch e.Kind {
	case ordering.KindAdmit:
		// Expiry is a matter of the admitter's clock and never judged here.
		allowed = c.checkInvite(seen, f.invite.Key, f.device, 0) == ""
	case ordering.KindRemove:
		allowed = author == c.creator.Device && c.isMember(seen, f.device)
	case ordering.KindRevoke:
		made := c.find(seen, f.invite.Key)
		allowed = made != nil && (author == c.creator.Device || author == made.author) && !c.revoked(seen, f.invite.Key)
	case ordering.KindInvite:
		if c.invites(seen, author) >= MaxInvitesOfDevice {
			return ordering.TooMany
		}
		allowed = c.find(seen, f.invite.Key) == nil
	case ordering.KindGenesis, ordering.KindLeave, ordering.KindKey, ordering.KindNull,
		ordering.KindMessage, ordering.KindJoined, ordering.KindLeft, ordering.KindRenamed, ordering.KindSwitch, ordering.KindTitle:
	}
	if !allowed {
		return ordering.NotAllowed
	}
	return ""
}

// read makes a fact of a membership entry, and checks the body of any kind that
// travels in plain.
func (c *census) read(seen *facts, e *ordering.Entry) (fact, bool) {
	f := fact{at: e.Key(), hash: e.Hash(), kind: e.Kind, author: e.Origin.Device, device: e.Origin.Device, past: seen}
	var err error
	switch e.Kind {
	case ordering.KindGenesis:
		var g ordering.Genesis
		g, err = ordering.DecodeGenesis(e.Body)
		f.invite.Key, f.name = g.Invite, g.NodeName
	case ordering.KindAdmit:
		var a ordering.Admit
		a, err = ordering.DecodeAdmit(e.Body)
		f.device, f.invite.Key, f.name = a.Device, a.Invite, a.Name
	case ordering.KindInvite:
		f.invite, err = ordering.DecodeInvite(e.Body)
	case ordering.KindRevoke:
		var r ordering.Revoke
		r, err = ordering.DecodeRevoke(e.Body)
		f.invite.Key = r.Key
	case ordering.KindRemove:
		var r ordering.Remove
		r, err = ordering.DecodeRemove(e.Body)
		f.device = r.Device
	case ordering.KindKey:
		_, err = ordering.DecodeKeyGrant(e.Body)
	case ordering.KindLeave, ordering.KindNull:
		if len(e.Body) > 0 {
			return f, false
		}
	case ordering.KindSwitch:
		_, err = ordering.DecodeSwitch(e.Body)
	case ordering.KindTitle:
		_, err = ordering.DecodeTitle(e.Body)
	case ordering.KindMessage, ordering.KindJoined, ordering.KindLeft, ordering.KindRenamed:
	}
	return f, err == nil
}

// record returns the facts in the past of e, itself included.
func (c *census) record(seen *facts, e *ordering.Entry) *facts {
	if !changesRights(e.Kind) {
		return seen
	}
	f, _ := c.read(seen, e)
	if e.Kind == ordering.KindGenesis {
		c.creator = e.Origin
	}
	i := len(c.list)
	c.list = append(c.list, f)
	one := &facts{bits: make([]uint64, i/64+1)}
	one.bits[i/64] = 1 << (i % 64)
	c.all = c.union(c.all, one)
	return c.union(seen, one)
}

// union joins two sets and returns the interned result.
func (c *census) union(a, b *facts) *facts {
	if a == b || b == nil {
		return a
	}
	if a == nil {
		a, b = b, &facts{}
	}
	if len(a.bits) < len(b.bits) {
		a, b = b, a
	}
	bits := slices.Clone(a.bits)
	for i, w := range b.bits {
		bits[i] |= w
	}
	key := make([]byte, 0, 8*len(bits))
	for _, w := range bits {
		key = binary.LittleEndian.AppendUint64(key, w)
	}
	if f, ok := c.byKey[string(key)]; ok {
		return f
	}
	f := &facts{bits: bits}
	c.byKey[string(key)] = f
	return f
}

// where yields the facts of a set for which match holds.
func (c *census) where(set *facts, match func(*fact) bool) func(func(int, *fact) bool) {
	return func(yield func(int, *fact) bool) {
		for i := range c.list {
			if f := &c.list[i]; set.has(i) && match(f) && !yield(i, f) {
				return
			}
		}
	}
}

// isMember reports whether, by the facts of a set, the device may write: it was
// admitted, has not left since, and was never removed. A removal wins over an
// admission beside it.
func (c *census) isMember(set *facts, d ordering.DeviceKey) bool {
	if set == nil {
		return false
	}
	is, known := set.member[d]
	if known {
		return is
	}
	admits, known := c.admits(set, d)
	if known { // strangers, of whom there is no end, are not remembered
		if set.member == nil {
			set.member = make(map[ordering.DeviceKey]bool)
		}
		set.member[d] = len(admits) > 0
	}
	return len(admits) > 0
}

// admits returns the facts that make the device a member, and whether any fact
// concerns it at all.
func (c *census) admits(set *facts, d ordering.DeviceKey) (admits []int, known bool) {
	for i, f := range c.where(set, func(f *fact) bool { return f.device == d }) {
		known = true
		switch f.kind {
		case ordering.KindRemove:
			return nil, true
		case ordering.KindAdmit, ordering.KindGenesis:
			admits = append(admits, i)
		case ordering.KindLeave:
			admits = slices.DeleteFunc(admits, f.past.has)
		case ordering.KindInvite, ordering.KindRevoke, ordering.KindKey, ordering.KindNull,
			ordering.KindMessage, ordering.KindJoined, ordering.KindLeft, ordering.KindRenamed, ordering.KindSwitch, ordering.KindTitle:
		}
	}
	return admits, known
}

// admissions follows a member's admission back to the creator. It ends, as each
// step goes to the past of the one before.
func (c *census) admissions(d ordering.DeviceKey, limit int) (path []ordering.Ref) {
	for set := c.all; len(path) < limit; {
		admits, _ := c.admits(set, d)
		if len(admits) == 0 {
			break
		}
		f := &c.list[admits[0]]
		if f.kind != ordering.KindAdmit {
			break
		}
		path = append(path, ordering.Ref{EntryID: f.at.EntryID, Hash: f.hash})
		set, d = f.past, f.author
	}
	slices.Reverse(path)
	return path
}

func (c *census) known() []Member {
	if c.all == nil {
		return nil
	}
	if c.all.known != nil {
		return c.all.known
	}
	byDevice := make(map[ordering.DeviceKey]*fact) // the first that admits it, or that once did
	for i, f := range c.where(c.all, admitting) {
		admits, _ := c.admits(c.all, f.device)
		if (len(admits) == 0 || slices.Contains(admits, i)) && earlier(f, byDevice[f.device]) {
			byDevice[f.device] = f
		}
	}
	facts := slices.SortedFunc(maps.Values(byDevice), func(a, b *fact) int { return a.at.Compare(b.at) })
	list := make([]Member, len(facts))
	for i, f := range facts {
		list[i] = Member{Device: f.device, Name: f.name, Creator: f.device == c.creator.Device, Former: !c.isMember(c.all, f.device)}
	}
	c.all.known = list
	return list
}

func admitting(f *fact) bool {
	return f.kind == ordering.KindAdmit || f.kind == ordering.KindGenesis
}

// earlier reports whether a stands before b, or b is nil.
func earlier(a, b *fact) bool {
	return b == nil || cmp.Or(a.at.Compare(b.at), compareHashes(a.hash, b.hash)) < 0
}

func (c *census) revoked(set *facts, key ordering.InviteKey) bool {
	for range c.where(set, func(f *fact) bool { return f.kind == ordering.KindRevoke && f.invite.Key == key }) {
		return true
	}
	return false
}

func (c *census) invites(set *facts, author ordering.DeviceKey) (n int) {
	for range c.where(set, func(f *fact) bool { return f.kind == ordering.KindInvite && f.author == author }) {
		n++
	}
	return n
}

// find returns the fact that made an invite, or nil. Of several for one key, made
// beside one another, the first in the predicted order counts on every replica.
func (c *census) find(set *facts, key ordering.InviteKey) (made *fact) {
	for _, f := range c.where(set, func(f *fact) bool {
		return (f.kind == ordering.KindInvite || f.kind == ordering.KindGenesis) && f.invite.Key == key
	}) {
		if earlier(f, made) {
			made = f
		}
	}
	return made
}

func (c *census) checkInvite(set *facts, key ordering.InviteKey, d ordering.DeviceKey, nowMS int64) InviteProblem {
	made := c.find(set, key)
	if made == nil {
		return UnknownInvite
	}
	if made.invite.ExpiresMS > 0 && nowMS >= made.invite.ExpiresMS {
		return Expired
	}
	var used uint32
	returns := 0
	admitted := make(map[ordering.DeviceKey]bool)
	for _, f := range c.where(set, func(*fact) bool { return true }) {
		switch {
		case f.kind == ordering.KindRevoke && f.invite.Key == key:
			return Revoked
		case f.kind == ordering.KindRemove && f.device == d:
			return Removed
		case f.kind == ordering.KindLeave && f.device == d:
			returns++
		case f.kind == ordering.KindAdmit && f.invite.Key == key:
			used++
			admitted[f.device] = true
		case admitting(f):
			admitted[f.device] = true
		}
	}
	if made.invite.Uses > 0 && used >= made.invite.Uses {
		return UsedUp
	}
	if returns > MaxReturns {
		return TooOften
	}
	if len(admitted) >= ordering.MaxMembers && !admitted[d] {
		return Full
	}
	return ""
}
