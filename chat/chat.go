// Package chat holds the values that people-facing code sees: rooms, messages,
// members, the state of the network, and the errors that are told to people.
//
// A message here is what a person reads. What replicas exchange (entries, runs,
// vectors) is in package ordering and never travels further up than package
// node. Everything in this package is a plain value: once handed out it is
// never changed by the one who made it.
package chat

import "time"

// DefaultRoom is the room a client talks in when it names none.
const DefaultRoom = "lobby"

// Limits on what people may enter.
const (
	MaxTextBytes = 65536 // UTF-8 bytes of one message
	MaxNameRunes = 64    // characters of a user, node or room name
	MaxPage      = 1000  // messages in one Page
)

// Order is the way a room reaches its final order.
type Order string

// The two orders of a room.
const (
	Lamport Order = "lamport" // leaderless; final when every member of the view has acknowledged past it
	Leader  Order = "leader"  // sequenced by an elected leader; final when a majority stores it
)

// State says where a message stands in the order.
type State string

// A message is shown at once as tentative; final never changes again.
const (
	Tentative State = "tentative"
	Final     State = "final"
)

// Kind tells a spoken message from a line the room itself adds.
type Kind string

// The kinds of line in a room's history. A kind this version does not know is
// KindUnknown: it keeps its place and is shown as "needs a newer version".
const (
	KindText     Kind = "text"
	KindJoined   Kind = "joined"   // a person's first JoinUser in the room
	KindLeft     Kind = "left"     // a person's LeaveUser
	KindRenamed  Kind = "renamed"  // a person took another name
	KindOrdering Kind = "ordering" // the room's order was switched
	KindTitle    Kind = "title"    // the room took another name
	KindUnknown  Kind = "unknown"
)

// Message is one line of a room's history.
type Message struct {
	ID       string // opaque, unique for good, equal on every node
	Room     string // name, for display
	RoomID   string // 64 hex digits
	Kind     Kind
	Origin   string // display name of the node that wrote it, NAME or NAME~TAG
	Sender   string // the person's name
	SenderID string // 16 hex digits of the person's key: one name may be two people
	Text     string
	ReplyTo  string // ID of the message this one answers, or ""
	State    State
	Index    uint64 // position in the final list, 1 first; 0 while tentative
	Hash     string // order_hash at Index, 64 hex digits; "" while tentative
	Epoch    uint64
	Leader   string // in leader epochs, who sequenced it
	Late     bool   // entered the final list after words written later
	Lamport  uint64 // lamport_ts
	Time     time.Time
	ClientID string
	Mine     bool // written by a person of this node's profile
	// Unreadable is set when the room key that sealed the message is not here
	// yet; Text then is empty and the row says so.
	Unreadable bool
	// Position is the place in the room's order as it stands now, a key of hex
	// digits that compares bytewise; the cursor of PageQuery. It changes once:
	// when the message becomes final. A final message stands at 00 and its index
	// in 8 bytes, a tentative one behind all of these at 01 and its key.
	Position string
	// Arrival numbers the messages of a room in the order this node stored
	// them, 1 first; the cursor of Since. It is local to the node.
	Arrival uint64
	// Received counts the members known to hold the message, this node included;
	// told of messages with Mine alone, 0 otherwise. Room.Members is all of them.
	Received int
}

// Positions that no message has.
const (
	BeforeAll       = "00" // before every message
	BeforeTentative = "01" // after every final message, before every tentative one
)

// Draft is a message on its way in.
type Draft struct {
	Room     string // name, id or unique prefix of 6 or more characters
	Username string
	Text     string
	ReplyTo  string
	ClientID string // unique per person; made by the node when empty
}

// Sent says that the node has a message on its disk.
type Sent struct {
	ID        string
	ClientID  string
	Duplicate bool // the same client id and text had been handed in before
}

// PageQuery asks for messages of a room in predicted order: the final ones, then
// the tentative ones in the order they would take now. Before and After may also
// be BeforeAll or BeforeTentative. Around a repeat of a message that is shown is
// around that message.
// At most one of Before, After and Around is set; none means the newest.
type PageQuery struct {
	Room   string
	Before string    // Position: the page ends just before it
	After  string    // Position: the page begins just after it
	Around string    // message ID: the page has it near the middle
	At     time.Time // the page begins with the first message written then or later
	Limit  int       // 1 to MaxPage; 0 = 100
}

// Page is a stretch of a room's messages, oldest first.
type Page struct {
	Messages []Message
	Older    bool // there are messages before the first
	Newer    bool // there are messages after the last
	Total    uint64
}

// RoomState says how far this node is with a room.
type RoomState string

// The states of a room on this node.
const (
	Joining RoomState = "joining" // asking to be admitted, or fetching history
	Joined  RoomState = "joined"
	Failed  RoomState = "failed" // could not join; Reason says why
)

// Room is a room as a list shows it.
type Room struct {
	ID          string // 64 hex digits
	Name        string
	Order       Order
	State       RoomState
	Reason      string // why State is Failed, or what Joining waits for
	Progress    Progress
	Members     int // devices that may write
	Online      int // of these, connected now, this node included
	Unread      int
	Last        *Message // newest in predicted order, nil when there is none
	Total       uint64   // messages held
	FinalIndex  uint64
	Waiting     string   // in words: whom the room waits for and what becomes of messages meanwhile; "" = nothing to say
	WaitsFor    []string // whom Waiting names, for other languages
	Forked      []string // members whose device wrote two different histories (RoomStatus)
	FirstUnread string   // ID of the first message that counts in Unread, "" when there is none
	Readers     []Reader // how far other persons have read, by name
	Typing      []Person // who is writing just now, this node's own person excepted
	Settings    RoomSettings
	Merges      []Merge // newest last, at most MaxMerges
}

// Person is who writes: one name may be two people.
type Person struct{ Name, ID string }

// Reader is how far a person has read a room, as that person's node said.
type Reader struct {
	Person
	UpTo uint64 // index of the last final message that was read
}

// RoomSettings are of this node alone, not of the room.
type RoomSettings struct {
	Notify   Notify
	HideRead bool // tell nobody how far this room was read
	Nearby   bool // offer the room to whoever is on the same network
}

// Nearby is a room that a node on the same network offers.
type Nearby struct {
	Room   string // name
	RoomID string
	Node   string // who offers it
	Invite string
}

// MaxNearby is how many rooms Nearby tells of.
const MaxNearby = 64

// Notify says of which messages a person is told while looking elsewhere.
type Notify string

// The ways to notify.
const (
	// The choices.
	NotifyAll      Notify = ""         // of all
	NotifyMentions Notify = "mentions" // of those that name the person or answer one of theirs
	NotifyNone     Notify = "none"     // of none: the room is muted
)

// MaxMerges is how many merges a Room tells of.
const MaxMerges = 32

// Merge is the end of a separation: messages written apart that came together.
type Merge struct {
	From, To time.Time // while the parts were apart, by this node's clock
	Before   string    // ID of the first message that was added
	Count    int       // messages added
}

// Progress counts entries fetched while a room is being joined.
type Progress struct{ Have, Want uint64 }

// Confirmation tells who has read a message, its sender excepted.
type Confirmation struct {
	Message Message
	Readers []Person // by name
}

// Member is a device that may write in a room.
type Member struct {
	Name        string // node id, NAME or NAME~TAG
	PeerID      string
	Fingerprint string // 8 groups of 4 base32 characters, to compare aloud
	Creator     bool
	Self        bool
	State       PeerState
}

// Info tells of one message why it stands where it does.
type Info struct {
	Message  Message
	Author   Member    // the device that wrote it
	Parents  []Parent  // what its author had seen last, at most 20
	Arrived  time.Time // when this node stored it; zero if it was not noted
	Holders  []string  // members known to hold it, by node id
	Missing  []string  // the other members
	Readers  []Person  // who has read it, as far as they said
	Verified bool      // the author's signature covers it: always true of what is in the list
	Seq      uint64    // of its author's chain
	Term     uint64    // of the leader that sequenced it; 0 in leaderless epochs and while tentative
}

// Parent is a message or another entry on which one depends.
type Parent struct {
	ID   string
	Name string // of the node that wrote it
	Text string // its beginning, "" when it is no message
}

// PeerState says what this node knows of another.
type PeerState string

// The states of a peer, in the words of the `peer` event.
const (
	PeerJoined    PeerState = "joined"    // admitted to a room, never seen yet
	PeerConnected PeerState = "connected" // heartbeats arrive
	PeerSuspected PeerState = "suspected" // heartbeats stopped
	PeerLeft      PeerState = "left"      // said goodbye, or is gone
	PeerForked    PeerState = "forked"    // signed two messages for one place: it takes no part in the order
)

// Peer is another node as this one sees it.
type Peer struct {
	Name    string
	PeerID  string
	State   PeerState
	RTT     time.Duration
	Addr    string
	Relayed bool
}

// InviteOptions limits an invite. Zero means no limit.
type InviteOptions struct {
	Room    string
	Expires time.Duration
	Uses    int
}

// SearchQuery asks for messages whose text has all words of Text; the last may
// be a prefix.
type SearchQuery struct {
	Text  string
	Room  string // "" = all rooms
	Limit int    // 1 to MaxPage; 0 = 50
}

// View is what a window shows of a node: an immutable snapshot.
type View struct {
	NodeID   string
	PeerID   string
	Username string // the profile's chosen name, "" before onboarding
	Rooms    []Room // in the order of the newest message
	Peers    []Peer
	Network  string // connection state in words, with what to do
	Healthy  bool   // the disk takes writes
}

// Status is what `tertulia status` tells.
type Status struct {
	NodeID  string
	PeerID  string
	Version string
	Uptime  time.Duration
	Addrs   []string
	Peers   []Peer
	Rooms   []RoomStatus
	Refused map[string]uint64 // entries refused, by reason
	Disk    string            // "ok", or what is wrong and what to do
}

// RoomStatus is a room in Status.
type RoomStatus struct {
	Name       string
	ID         string
	Order      Order
	State      RoomState
	Epoch      uint64
	View       []string
	Leader     string
	Term       uint64
	Voters     []string
	FinalIndex uint64
	OrderHash  string
	Tentative  uint64
	WaitingFor []string
	Clocks     map[string]uint64 // highest lamport_ts heard of, by member
	Replicas   []Replica
	TailHash   string // equal at two nodes exactly if they hold the same entries, and so show the same list
	Parked     int    // entries held back for a missing past
	// Diverged is the index at which the final list here was found to differ from
	// another replica's, 0 = it does not. The room is frozen since.
	Diverged uint64
	Forked   []string // members that signed two entries for one place: they take no part in the order
	Links    []Link   // who is connected to whom, as far as it is known here
	Turns    []Turn   // elections and epochs since this node started, newest last, at most MaxTurns
}

// Link is a connection between two members; each stands once, A before B.
type Link struct {
	A, B    string        // node ids
	RTT     time.Duration // 0 = not measured here
	Relayed bool
}

// Turn is a change in who leads or in what moves a room's order.
type Turn struct {
	Time   time.Time
	Type   EventType // EventLeader or EventEpoch
	Term   uint64
	Leader string // "" = none for now
	Epoch  uint64
	Order  Order // that of the room: without a leader who leads moves it from epoch to epoch
	View   []string
	Reason string
}

// MaxTurns is how many turns a RoomStatus tells of.
const MaxTurns = 64

// Replica is what another member last said of its final list.
type Replica struct {
	NodeID     string
	FinalIndex uint64
	OrderHash  string
	Diverged   bool // its order hash is another than ours at the same index
}

// Event is something that happened at a node, for `--headless --json`.
type Event struct {
	Type   EventType
	NodeID string // EventPeer
	State  string // EventPeer, EventRoom
	Room   string
	RoomID string
	Reason string // EventRoom
	Term   uint64 // EventLeader
	Leader string // EventLeader
	Epoch  uint64 // EventEpoch
	Order  Order
	View   []string
}

// EventType names an Event.
type EventType string

// The events of a node.
const (
	EventPeer   EventType = "peer"
	EventRoom   EventType = "room"
	EventLeader EventType = "leader"
	EventEpoch  EventType = "epoch"
)
