// Package wire turns the bytes on a stream into typed frames, once, and typed
// frames into bytes. A frame that Read or Decode returned is within all limits
// below and of the right shape; runs and signals in it are decoded but not
// verified.
//
// Protobuf is how frames are packed, and no type of it leaves this package.
package wire

import (
	"tertulia/ordering"
)

// Limits of frames.
const (
	// MaxFrame is the number of bytes of one frame. The largest is a Relay of a
	// signal of ordering.MaxSignal (705 KiB), whose other fields, tags and
	// lengths take less than 1 KiB; a Push has ordering.MaxRunBytes (256 KiB), a
	// Have of ordering.MaxOrigins has 192 KiB and a full FinalsPage 436 KiB at most.
	MaxFrame       = 768 << 10
	MaxVersion     = 64   // bytes of a program version
	MaxRooms       = 4096 // rooms in a Rooms
	MaxHears       = ordering.MaxMembers
	MaxPeerRecords = 64      // envelopes in a PeerRecords
	MaxPeerRecord  = 8 << 10 // bytes of one envelope
	MaxRoomKeys    = 1024    // keys in a KeysReply or JoinReply, ids in a KeysRequest
	MaxRefused     = 64      // bytes of a JoinReply's Refused
	MaxNewest      = 4096    // entries a FetchRequest may ask for from the end
	MaxBranches    = 64      // entries of other branches that a FetchRequest may ask for
	MaxFinals      = 4096    // places in a FinalsPage
	MaxOffers      = 16      // rooms in a NearbyReply
	MaxOfferInvite = 8 << 10 // bytes of an invite there
	minHeartbeat   = 64      // bytes; below 43 a restarted QUIC peer sends no stateless reset
)

// Frame is what travels: one of the types of this package with a frame method.
// Hello, Heartbeat, Leaving, Rooms, Room and PeerRecords travel on the
// long-lived stream between two peers, the others on streams of their own.
type Frame interface{ frame() }

// Hello is the first frame of each side of a long-lived stream.
type Hello struct {
	BootID   uint64 // random, drawn at every start of the process
	Instance ordering.Instance
	Name     string // node id
	Version  string // of the program
}

// Heartbeat says that its sender lives (PROTOCOL.md, B1).
type Heartbeat struct {
	Counter uint64
	SentNS  uint64 // the sender's monotonic clock
	EchoNS  uint64 // SentNS of the last heartbeat the sender had from the receiver; 0: none
	HeldNS  uint64 // how long the sender had kept that one
	// HearsChanged says that Hears replaces what the sender told before.
	HearsChanged bool
	Hears        []ordering.DeviceKey
	DiskOK       bool
	Draining     bool
}

// Leaving is the last frame of a peer that stops.
type Leaving struct{}

// Rooms are those that the sender believes to share with the receiver. It
// replaces the last one.
type Rooms struct{ IDs []ordering.RoomID }

// Room carries what two replicas of a room say to each other. The Room of a
// Relay is this one and does not travel twice. A Relay that was read is from
// one device to another, has at most ordering.MaxHops left and carries what
// decodes as a signal; whether From said it is for the receiver to verify.
type Room struct {
	Room ordering.RoomID
	Msg  ordering.Message
}

// PeerRecords are addresses, each signed by the peer they belong to.
type PeerRecords struct{ Envelopes [][]byte }

// JoinRequest asks to be admitted to a room.
type JoinRequest struct {
	Room   ordering.RoomID
	Invite ordering.InviteKey
	Origin ordering.Origin // the joiner
	Name   string          // its node id
	TimeMS int64           // Unix time
	Proof  [64]byte        // Ed25519 by the invite's private half
}

// Why a JoinRequest is refused.
const (
	RefusedExpired       = "expired"
	RefusedRevoked       = "revoked"
	RefusedUsedUp        = "used-up"
	RefusedUnknownInvite = "unknown-invite"
	RefusedRemoved       = "removed"
	RefusedFull          = "full"
	RefusedNotMember     = "not-member" // the one asked is no member
)

// RoomKey is a room's symmetric key.
type RoomKey struct {
	ID  ordering.KeyID
	Key [32]byte
}

// JoinReply answers a JoinRequest. With Refused set, what travels is empty else.
type JoinReply struct {
	Refused string // one of the Refused constants, or "": admitted
	Genesis ordering.Run
	Heads   ordering.Vector
	Keys    []RoomKey
	// Answered is for the asker, who may have asked many: how many refused. It
	// does not travel.
	Answered int
}

// FetchRequest asks for a room's runs after each of Wants, and for no more than
// the Newest entries; 0 means all. FetchRuns answer it, then one FetchEnd.
type FetchRequest struct {
	Room   ordering.RoomID
	Wants  []ordering.Want
	Newest int
}

// FetchRun is one run of an answer.
type FetchRun struct{ Run ordering.Run }

// FetchEnd ends an answer.
type FetchEnd struct{ More bool }

// KeysRequest asks a member for room keys.
type KeysRequest struct {
	Room ordering.RoomID
	IDs  []ordering.KeyID
}

// KeysReply has those of the keys that the answering member holds.
type KeysReply struct{ Keys []RoomKey }

// FinalsRequest asks which entries a room's final order has after an index.
// FinalsPages answer it, the last of which has no More.
type FinalsRequest struct {
	Room  ordering.RoomID
	After uint64
}

// FinalsPage is a part of the final order. It has a List, unless it is the last.
type FinalsPage struct {
	First uint64            // index of the first of List, at least 1
	List  []ordering.Listed // by index, without a gap
	More  bool              // another page follows
}

// NearbyRequest asks which rooms a node offers to whoever is on the same network.
// NearbyReply answers it.
type NearbyRequest struct{}

// NearbyReply has at most MaxOffers.
type NearbyReply struct{ Offers []Offer }

// Offer is a room that is offered nearby.
type Offer struct {
	Room   ordering.RoomID
	Name   string
	Invite string
}

func (*Hello) frame()         {}
func (*Heartbeat) frame()     {}
func (*Leaving) frame()       {}
func (*Rooms) frame()         {}
func (*Room) frame()          {}
func (*PeerRecords) frame()   {}
func (*JoinRequest) frame()   {}
func (*JoinReply) frame()     {}
func (*FetchRequest) frame()  {}
func (*FetchRun) frame()      {}
func (*FetchEnd) frame()      {}
func (*KeysRequest) frame()   {}
func (*KeysReply) frame()     {}
func (*FinalsRequest) frame() {}
func (*FinalsPage) frame()    {}
func (*NearbyRequest) frame() {}
func (*NearbyReply) frame()   {}
