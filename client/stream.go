package client

import (
	"context"
	"errors"

	"connectrpc.com/connect"

	"tertulia/api/schema"
	pb "tertulia/api/tertulia/v1"
	"tertulia/chat"
)

// Attach says where a Stream begins.
type Attach struct {
	Room   string
	From   uint64 // with Replay: first index wanted
	Replay bool   // final messages come before the tentative ones
	// Readers wants to be told how far each person has read, after CaughtUp.
	Readers bool
	Resume  *Cursor // go on where an earlier stream of the same room ended, on this or another node; nil = begin anew
}

// Attached is what a node says when a stream begins.
type Attached struct {
	NodeID, PeerID string
	Room, RoomID   string
	FinalIndex     uint64
}

// Stream is a room's messages as they come. Over all streams of one Cursor a
// message comes as tentative at most once and as final exactly once, and finals
// come in index order without a gap. It is for one goroutine.
type Stream struct {
	Attached Attached
	Message  chat.Message // after Next returned true, unless Reader or CaughtUp is set
	Known    bool         // Message is final and was tentative before
	Reader   *chat.Reader // how far a person has read; then there is no Message
	CaughtUp bool         // Next stands at the mark between what was there and what is new
	Cursor   *Cursor      // behind what Next gave before Message

	ctx     context.Context
	cancel  context.CancelFunc
	stream  *connect.ServerStreamForClient[pb.MessagesResponse]
	mark    uint64
	given   bool // Message is not counted as read yet
	failure error
}

// Attach opens a stream. It ends with ctx; the caller closes it.
func (c *Client) Attach(ctx context.Context, a Attach) (*Stream, error) {
	req := &pb.MessagesRequest{Room: a.Room, Replay: a.Replay, Readers: a.Readers}
	if a.Replay {
		req.From = &a.From
	}
	s := &Stream{ctx: ctx, Cursor: a.Resume}
	if s.Cursor == nil {
		s.Cursor = new(Cursor)
	}
	req.Resume = s.Cursor.request()
	streamCtx, cancel := context.WithCancel(ctx)
	s.cancel = cancel
	stream, err := c.service.Messages(streamCtx, connect.NewRequest(req))
	if err != nil {
		cancel()
		return nil, failure(ctx, err)
	}
	s.stream = stream
	if !stream.Receive() {
		err := stream.Err()
		s.Close()
		if err == nil {
			err = errCut
		}
		return nil, failure(ctx, err)
	}
	first := stream.Msg().GetAttached()
	if first == nil {
		s.Close()
		return nil, chat.Errorf(chat.CodeInternal, "The node did not begin with what it attached to.")
	}
	s.Attached = Attached{
		NodeID:     first.GetNodeId(),
		PeerID:     first.GetPeerId(),
		Room:       first.GetRoom(),
		RoomID:     first.GetRoomId(),
		FinalIndex: first.GetFinalIndex(),
	}
	s.mark = first.GetArrival()
	s.Cursor.attach(s.Attached.PeerID, s.mark, first.GetIndex())
	return s, nil
}

var errCut = errors.New("client: the stream was cut")

// Next waits for the next message, or for the mark CaughtUp. What it gave before
// counts as read from now on. It returns false when the stream is over; Err then
// says why.
func (s *Stream) Next() bool {
	if s.given {
		s.Cursor.read(s.Message, s.mark)
		s.given = false
	}
	s.Reader = nil
	for s.stream.Receive() {
		switch event := s.stream.Msg().GetEvent().(type) {
		case *pb.MessagesResponse_Message:
			m := schema.ChatMessage(event.Message)
			fresh, err := s.Cursor.fresh(m)
			if err != nil {
				s.failure = err
				return false
			}
			if !fresh {
				continue
			}
			_, announced := s.Cursor.announced[m.ID]
			s.Message, s.CaughtUp, s.given = m, false, true
			s.Known = announced && m.State == chat.Final
			return true
		case *pb.MessagesResponse_Reader:
			r := schema.ChatReader(event.Reader)
			s.Reader, s.CaughtUp, s.Known = &r, false, false
			return true
		case *pb.MessagesResponse_CaughtUp:
			s.CaughtUp, s.Known = true, false
			s.Cursor.walked = true
			return true
		case *pb.MessagesResponse_Attached, nil:
			s.failure = chat.Errorf(chat.CodeInternal, "The node sent what this version cannot read.")
			return false
		}
	}
	s.failure = s.stream.Err()
	if s.failure == nil {
		s.failure = errCut
	}
	s.failure = failure(s.ctx, s.failure)
	return false
}

// Tentative returns how many messages came as tentative and are not final,
// Message included.
func (s *Stream) Tentative() int {
	n := len(s.Cursor.announced)
	switch {
	case !s.given:
	case s.Message.State == chat.Final:
		n -= len(s.Cursor.settledBy(s.Message))
	default:
		n++
	}
	return n
}

// Err says why Next returned false.
func (s *Stream) Err() error { return s.failure }

// Close ends the stream, also in the middle: without the cancel it would wait
// for the node to end it.
func (s *Stream) Close() {
	s.cancel()
	s.stream.Close()
}
