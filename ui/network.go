package ui

import (
	"cmp"
	"slices"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/theme"

	"tertulia/chat"
)

// network is what is known of a room's connections and replicas; nobody changes
// it once it is made.
type network struct {
	room    chat.Room
	status  chat.RoomStatus
	peers   []chat.Peer
	who     writers
	members []member // this node first, then the leader, then whoever can be reached
	links   []chat.Link
}

// member is a device of the room as the network view shows it.
type member struct {
	name    string
	who     string // what people call it
	both    string // that and its name
	id      string // what its colour derives from
	self    bool
	leader  bool
	state   chat.PeerState
	rtt     time.Duration // 0 = not measured
	relayed bool
	clock   uint64
	replica *chat.Replica // nil where it was not heard of yet
}

// present says that the member can be reached.
func (m *member) present() bool { return m.self || m.state == chat.PeerConnected }

// newNetwork puts together what the node says of a room and of its members, and
// who writes there.
func newNetwork(room *chat.Room, status *chat.Status, members []chat.Member, who writers) *network {
	n := &network{room: *room, peers: status.Peers, who: who}
	for i := range status.Rooms {
		if status.Rooms[i].ID == room.ID {
			n.status = status.Rooms[i]
		}
	}
	for i := range members {
		n.members = append(n.members, n.member(&members[i]))
	}
	rank := func(m *member) int {
		switch {
		case m.self:
			return 0
		case m.leader:
			return 1
		case m.present():
			return 2
		}
		return 3
	}
	slices.SortStableFunc(n.members, func(a, b member) int {
		return cmp.Or(cmp.Compare(rank(&a), rank(&b)), cmp.Compare(a.name, b.name))
	})
	n.links = n.allLinks()
	return n
}

func (n *network) member(c *chat.Member) member {
	s := &n.status
	m := member{
		name: c.Name, who: n.who.name(c.Name), both: n.who.both(c.Name), id: n.who.key(c.Name, c.PeerID), self: c.Self,
		leader: s.Order == chat.Leader && s.Leader != "" && s.Leader == c.Name,
		state:  c.State, clock: s.Clocks[c.Name],
	}
	for i := range n.peers {
		if p := &n.peers[i]; p.Name == c.Name && !c.Self {
			m.state, m.rtt, m.relayed = p.State, p.RTT, p.Relayed
		}
	}
	for i := range s.Replicas {
		if s.Replicas[i].NodeID == c.Name {
			m.replica = &s.Replicas[i]
		}
	}
	return m
}

// allLinks is the links the node tells of, those of its own measured and complete.
func (n *network) allLinks() []chat.Link {
	links := slices.Clone(n.status.Links)
	if len(n.members) == 0 || !n.members[0].self {
		return links
	}
	self := n.members[0].name
	for i := range n.members[1:] {
		m := &n.members[1+i]
		at := slices.IndexFunc(links, func(l chat.Link) bool { return l.A == self && l.B == m.name || l.A == m.name && l.B == self })
		switch {
		case at >= 0:
			links[at].RTT = cmp.Or(links[at].RTT, m.rtt)
			links[at].Relayed = links[at].Relayed || m.relayed
		case m.present():
			links = append(links, chat.Link{A: self, B: m.name, RTT: m.rtt, Relayed: m.relayed})
		}
	}
	return links
}

// agreement is what comparing the final lists of all members says.
type agreement struct {
	same    int      // members with our list at our position, this one included
	all     int      // members
	differs []string // members whose list is another
	at      uint64   // where: the first position that differs, 0 = none does
	atMost  bool     // at is known to differ, and may not be the first
}

// agreement compares order hashes; lists of different lengths cannot be compared.
func (n *network) agreement() agreement {
	a := agreement{all: len(n.members), at: n.status.Diverged}
	for i := range n.members {
		m := &n.members[i]
		switch n.standing(m) {
		case standsSame:
			a.same++
		case standsApart:
			a.differs = append(a.differs, m.who)
			if n.status.Diverged == 0 && (a.at == 0 || m.replica.FinalIndex < a.at) {
				a.at, a.atMost = m.replica.FinalIndex, true
			}
		case standsBehind, standsAhead, standsUnknown:
		}
	}
	return a
}

// listStanding is how a member's final list compares with ours.
type listStanding int

const (
	standsUnknown listStanding = iota
	standsSame                 // same position, same hash
	standsBehind               // another position: nothing to compare yet
	standsAhead                // likewise
	standsApart                // another list
)

func (n *network) standing(m *member) listStanding {
	r := m.replica
	switch {
	case m.self:
		return standsSame
	case r == nil:
		return standsUnknown
	case r.Diverged, r.FinalIndex == n.status.FinalIndex && r.OrderHash != n.status.OrderHash:
		return standsApart
	case r.FinalIndex < n.status.FinalIndex:
		return standsBehind
	case r.FinalIndex > n.status.FinalIndex:
		return standsAhead
	}
	return standsSame
}

func (a *agreement) text() string {
	text := tr(textSameOn, args{"Some": count(uint64(a.same)), "All": count(uint64(a.all))})
	if n := len(a.differs); n > 0 {
		text += "; " + plural(pluralDiffer, pluralDifferFallback, n, args{"Count": count(uint64(n))})
	}
	if rest := a.all - a.same - len(a.differs); rest > 0 {
		text += "; " + plural(pluralUncompared, pluralUncomparedFallback, rest, args{"Count": count(uint64(rest))})
	}
	return text
}

// alarm says that lists differ, and where; "" when none does.
func (a *agreement) alarm() string {
	if a.at == 0 {
		return ""
	}
	text := tr(textDiffersFrom, args{"Index": count(a.at)})
	if a.atMost {
		text = tr(textDiffersAt, args{"Index": count(a.at)})
	}
	if len(a.differs) > 0 {
		text += " " + tr(textDiffersOn, args{"Names": textOfNames(a.differs)})
	}
	return text
}

// words is the state of the network as one says it aloud: how it is, what that
// means for messages or what to do, and the colour that goes with it.
func (n *network) words() (how, means string, tone fyne.ThemeColorName) {
	r := &n.room
	if r.State != chat.Joined {
		return roomState(r), nodeText(r.Waiting), colorOffline
	}
	all, online := len(n.members), 0
	for i := range n.members {
		if n.members[i].present() {
			online++
		}
	}
	means, tone = waitingText(r, n.peers, n.who), colorOnline
	if s := &n.status; s.Tentative > 0 && len(s.WaitingFor) > 0 {
		means = waitingFor(s.WaitingFor, online, true, n.peers, n.who)
	}
	switch {
	case all <= 1:
		how, means, tone = tr(textNobodyElse), tr(textInviteSomebody), colorOffline
	case online == all && all == 2:
		how = tr(textBothConnected)
	case online == all:
		how = tr(textAllConnected, args{"Count": count(uint64(all))})
	case online <= 1:
		how, tone = tr(textNoneConnected), colorOffline
	default:
		how = tr(textSomeConnected, args{"Some": count(uint64(online)), "All": count(uint64(all))})
		tone = colorOffline
	}
	a := n.agreement()
	switch {
	case a.at > 0:
		means, tone = tr(textUnequal), theme.ColorNameError
		if n.status.Diverged > 0 {
			means += " " + tr(textStopped)
		}
	case means != "":
		tone = colorOffline
	case n.leaderless():
		means, tone = tr(textElecting), colorOffline
	default:
		means = tr(textFinalAtOnce)
	}
	return how, means, tone
}

// leaderless says that a leader is wanted and there is none.
func (n *network) leaderless() bool {
	return n.status.Order == chat.Leader && n.status.Leader == ""
}

// held says what is held back, and whom it waits for.
func (n *network) held() string {
	s := &n.status
	text := tr(textNothingHeld)
	blanks := args{"Count": count(s.Tentative), "Names": textOfNames(n.who.names(s.WaitingFor))}
	switch {
	case s.Tentative > 0 && len(s.WaitingFor) > 0:
		text = plural(pluralHeldFor, pluralHeldForFallback, int(min(s.Tentative, 1<<30)), blanks)
	case s.Tentative > 0:
		text = plural(pluralHeld, pluralHeldFallback, int(min(s.Tentative, 1<<30)), blanks)
	}
	if s.Parked > 0 {
		text += " " + plural(pluralParked, pluralParkedFallback, s.Parked, args{"Count": count(uint64(s.Parked))})
	}
	return text
}

// connection says in words how a member is connected with this node.
func (m *member) connection() string {
	if m.self {
		return tr(textMemberYou)
	}
	switch m.state {
	case chat.PeerConnected:
		switch {
		case m.relayed && m.rtt > 0:
			return tr(textRelayedIn, args{"Time": textOfRTT(m.rtt)})
		case m.relayed:
			return tr(textRelayed)
		case m.rtt > 0:
			return tr(textDirectIn, args{"Time": textOfRTT(m.rtt)})
		}
		return tr(textDirect)
	case chat.PeerSuspected:
		return tr(textSilent)
	case chat.PeerLeft:
		return tr(textGone)
	case chat.PeerJoined, chat.PeerForked:
	}
	return tr(textNeverMet)
}

func textOfRTT(d time.Duration) string {
	if d < time.Millisecond {
		return "< 1 ms"
	}
	return count(uint64(d.Round(time.Millisecond)/time.Millisecond)) + " ms"
}

// text says how a member's list compares with ours.
func (s listStanding) text() string {
	switch s {
	case standsSame:
		return tr(textListSame)
	case standsBehind:
		return tr(textListBehind)
	case standsAhead:
		return tr(textListAhead)
	case standsApart:
		return tr(textListApart)
	case standsUnknown:
	}
	return "–"
}

// leads says who leads, or why nobody does.
func (n *network) leads() string {
	s := &n.status
	switch {
	case s.Order != chat.Leader:
		return tr(textNobodyLeads)
	case s.Leader == "":
		return tr(textNoLeaderNow, args{"Term": count(s.Term)})
	}
	return tr(textLeads, args{"Leader": visibleLine(n.who.name(s.Leader)), "Term": count(s.Term)})
}

// turnText says what a turn changed; "" for what is no turn.
func turnText(t *chat.Turn, who writers) string {
	switch t.Type {
	case chat.EventLeader:
		someone, nobody := textLeads, textNoLeaderNow
		if t.Order == chat.Lamport {
			someone, nobody = textCoordinates, textNoCoordinator
		}
		if t.Leader == "" {
			return tr(nobody, args{"Term": count(t.Term)})
		}
		return tr(someone, args{"Leader": visibleLine(who.name(t.Leader)), "Term": count(t.Term)})
	case chat.EventEpoch:
		text := tr(textTurnEpoch, args{"Epoch": count(t.Epoch), "Order": orderName(t.Order)})
		if len(t.View) > 0 {
			text += ", " + tr(textTurnWith, args{"Names": textOfNames(who.names(t.View))})
		}
		return text
	case chat.EventPeer, chat.EventRoom:
	}
	return ""
}

// turnReason is why it was made, "" where its text says so already.
func turnReason(t *chat.Turn) string {
	const view = "view" // that members, or the order, are others now
	if t.Type == chat.EventEpoch && t.Reason == view {
		return ""
	}
	return visibleLine(t.Reason)
}

// textOfTurn is the clock today, and the day too before.
func textOfTurn(t, now time.Time) string {
	if dayOf(t) == dayOf(now) {
		return t.Local().Format("15:04:05")
	}
	return t.Local().Format("02/01 15:04:05")
}
