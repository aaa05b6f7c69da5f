package api

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"tertulia/api/schema"
	pb "tertulia/api/tertulia/v1"
	"tertulia/chat"
)

// walkMessages is how many messages one step of a stream or of a history holds
// in memory, at most. The tail of a history takes steps of chat.MaxPage.
const walkMessages = 100

// delivery is one Messages stream at work.
type delivery struct {
	ctx  context.Context
	node Node
	room string // id
	send func(*pb.MessagesResponse) error

	index    uint64 // finals up to it were sent or are not wanted
	mark     uint64 // what had arrived by then is walked, the rest follows by arrival
	position string // how far the walk has come
	walked   bool

	readers map[string]uint64 // with readers: how far each person was told to have read; nil: not wanted
}

// deliver runs one Messages stream until send fails or ctx ends.
//
// Finals are read by index, so that none is left out, whatever happens to it
// while it is tentative. What is tentative is divided by a mark, the newest
// arrival when the stream begins: what had arrived by then is walked in predicted
// order, the rest follows by arrival. So a message is sent as tentative once. One
// goroutine reads both, and a message that it finds final while it looks for
// tentative ones is left to the finals: a tentative line never comes after the
// final one.
func deliver(ctx context.Context, n Node, req *pb.MessagesRequest, send func(*pb.MessagesResponse) error) error {
	changes := n.Changes(ctx) // before the first read: what happens after it ticks
	room, err := n.Room(ctx, roomRef(req.GetRoom()))
	if err != nil {
		return err
	}
	view, err := n.View(ctx)
	if err != nil {
		return err
	}
	d := &delivery{ctx: ctx, node: n, room: room.ID, send: send, position: chat.BeforeTentative}
	if req.GetReaders() {
		d.readers = make(map[string]uint64)
	}
	if err := d.begin(req, room, view.PeerID); err != nil {
		return err
	}
	if err := send(&pb.MessagesResponse{Event: &pb.MessagesResponse_Attached{Attached: &pb.Attached{
		NodeId:     view.NodeID,
		PeerId:     view.PeerID,
		Room:       room.Name,
		RoomId:     room.ID,
		FinalIndex: room.FinalIndex,
		Arrival:    d.mark,
		Index:      d.index,
	}}}); err != nil {
		return err
	}
	// What the reader knows as final may be tentative here yet.
	for room.FinalIndex < d.index {
		if _, open := <-changes; !open {
			return ended(ctx)
		}
		if room, err = n.Room(ctx, room.ID); err != nil {
			return err
		}
	}
	for d.index < room.FinalIndex {
		if sent, err := d.finals(room.FinalIndex); err != nil {
			return err
		} else if sent == 0 {
			break
		}
	}
	if err := d.walk(); err != nil {
		return err
	}
	if err := send(&pb.MessagesResponse{Event: &pb.MessagesResponse_CaughtUp{CaughtUp: &pb.CaughtUp{}}}); err != nil {
		return err
	}
	for {
		if err := d.news(); err != nil {
			return err
		}
		if err := d.read(); err != nil {
			return err
		}
		if _, open := <-changes; !open {
			return ended(ctx)
		}
	}
}

// begin finds out where the stream starts.
func (d *delivery) begin(req *pb.MessagesRequest, room chat.Room, peerID string) error {
	resume := req.GetResume()
	switch {
	case resume != nil:
		d.index = resume.GetIndex()
	case req.GetReplay():
		d.index = min(max(req.GetFrom(), 1)-1, room.FinalIndex)
	default:
		d.index = room.FinalIndex
	}
	if resume == nil || resume.GetPeerId() != peerID {
		var err error
		d.mark, err = newestArrival(d.ctx, d.node, d.room)
		return err
	}
	d.mark, d.walked = resume.GetArrival(), resume.GetWalked()
	if p := string(resume.GetPosition()); p != "" {
		d.position = p
	}
	return nil
}

func (d *delivery) message(m chat.Message) error {
	return d.send(&pb.MessagesResponse{Event: &pb.MessagesResponse_Message{Message: schema.Message(m)}})
}

// finals sends one step of final messages, none above last, and returns how
// many there were.
func (d *delivery) finals(last uint64) (int, error) {
	messages, err := d.node.Finals(d.ctx, d.room, d.index, int(min(walkMessages, last-d.index)))
	if err != nil {
		return 0, err
	}
	for _, m := range messages {
		if m.Index != d.index+1 {
			return 0, chat.Errorf(chat.CodeInternal, "The node's final list goes on at %d after %d.", m.Index, d.index)
		}
		if err := d.message(m); err != nil {
			return 0, err
		}
		d.index = m.Index
	}
	return len(messages), nil
}

// walk sends what is tentative and had arrived by the mark.
func (d *delivery) walk() error {
	for !d.walked {
		page, err := d.node.Page(d.ctx, chat.PageQuery{Room: d.room, After: d.position, Limit: walkMessages})
		if err != nil {
			return err
		}
		for _, m := range page.Messages {
			d.position = m.Position
			if m.Arrival > d.mark || m.State == chat.Final {
				continue
			}
			if err := d.message(m); err != nil {
				return err
			}
		}
		d.walked = !page.Newer || len(page.Messages) == 0
	}
	return nil
}

// news sends everything that became final and everything that arrived, a step
// of each in turn, until there is nothing more.
func (d *delivery) news() error {
	for {
		became, err := d.finals(math.MaxUint64)
		if err != nil {
			return err
		}
		arrived, err := d.node.Since(d.ctx, d.room, d.mark, walkMessages)
		if err != nil {
			return err
		}
		for _, m := range arrived {
			if m.State != chat.Final {
				if err := d.message(m); err != nil {
					return err
				}
			}
			d.mark = m.Arrival
		}
		if became < walkMessages && len(arrived) < walkMessages {
			return nil
		}
	}
}

// read tells how far persons have read, as far as that is news.
func (d *delivery) read() error {
	if d.readers == nil {
		return nil
	}
	readers, err := d.node.Readers(d.ctx, d.room)
	if err != nil {
		return err
	}
	for _, r := range readers {
		if d.readers[r.ID] >= r.UpTo {
			continue
		}
		d.readers[r.ID] = r.UpTo
		if err := d.send(&pb.MessagesResponse{Event: &pb.MessagesResponse_Reader{Reader: schema.Reader(r)}}); err != nil {
			return err
		}
	}
	return nil
}

// newestArrival finds the highest arrival of a room by doubling and halving:
// some 2·log2(n) reads of one message each.
func newestArrival(ctx context.Context, n Node, room string) (uint64, error) {
	// A message stands at low (or low is 0); none stood above high when asked.
	var low, high uint64
	for step := uint64(1); ; step *= 2 {
		messages, err := n.Since(ctx, room, high, 1)
		if err != nil {
			return 0, err
		}
		if len(messages) == 0 {
			break
		}
		low = messages[0].Arrival
		high = low + step
	}
	for low < high {
		middle := low + (high-low)/2
		messages, err := n.Since(ctx, room, middle, 1)
		if err != nil {
			return 0, err
		}
		if len(messages) == 0 {
			high = middle
		} else {
			low = messages[0].Arrival
			high = max(high, low)
		}
	}
	return low, nil
}

// pageToken says where a history goes on: after an index and, once in the tail,
// after a position.
type pageToken struct {
	index uint64
	tail  string // "" = still among the finals
}

func (t pageToken) encode() []byte { return []byte(fmt.Sprintf("%d/%s", t.index, t.tail)) }

func parsePageToken(b []byte) (pageToken, error) {
	index, tail, ok := strings.Cut(string(b), "/")
	i, err := strconv.ParseUint(index, 10, 64)
	if !ok || err != nil {
		return pageToken{}, chat.Errorf(chat.CodeInvalid, "The page token is none of this node's.").WithHint("Begin without one.")
	}
	return pageToken{i, tail}, nil
}

// history answers one page of History: final messages of the indexes asked
// for and, when asked for, the tentative tail after them.
func history(ctx context.Context, n Node, req *pb.HistoryRequest) (*pb.HistoryResponse, error) {
	room := roomRef(req.GetRoom())
	before := max(req.GetFrom(), 1) - 1
	last := uint64(math.MaxUint64)
	if limit := req.GetLimit(); limit > 0 && limit < last-before {
		last = before + limit
	}
	at := pageToken{index: before}
	if token := req.GetPageToken(); len(token) > 0 {
		var err error
		if at, err = parsePageToken(token); err != nil {
			return nil, err
		}
	}
	resp := &pb.HistoryResponse{}
	if at.tail == "" && at.index < last {
		step := min(walkMessages, last-at.index)
		messages, err := n.Finals(ctx, room, at.index, int(step))
		if err != nil {
			return nil, err
		}
		resp.Messages = schema.Messages(messages)
		if len(messages) > 0 {
			at.index = messages[len(messages)-1].Index
		}
		if uint64(len(messages)) == step && at.index < last {
			resp.NextPageToken = at.encode()
			return resp, nil
		}
	}
	if !req.GetTentative() {
		return resp, nil
	}
	return tail(ctx, n, room, at, last, resp)
}

// tail adds a page of the tentative tail to resp. What became final since the
// finals were read has left the tail, so it comes before it; only in a tail of
// more than chat.MaxPage messages may one be left out that becomes final while
// its later pages are read.
func tail(ctx context.Context, n Node, room string, at pageToken, last uint64, resp *pb.HistoryResponse) (*pb.HistoryResponse, error) {
	first := at.tail == ""
	if first {
		at.tail = chat.BeforeTentative
	}
	page, err := n.Page(ctx, chat.PageQuery{Room: room, After: at.tail, Limit: chat.MaxPage})
	if err != nil {
		return nil, err
	}
	if first && at.index < last {
		since, err := n.Finals(ctx, room, at.index, int(min(chat.MaxPage, last-at.index)))
		if err != nil {
			return nil, err
		}
		resp.Messages = append(resp.Messages, schema.Messages(since)...)
		if len(since) > 0 {
			at.index = since[len(since)-1].Index
		}
		page.Messages = slices.DeleteFunc(page.Messages, func(m chat.Message) bool {
			return slices.ContainsFunc(since, func(f chat.Message) bool { return f.ID == m.ID })
		})
		if len(since) == chat.MaxPage {
			resp.NextPageToken = pageToken{index: at.index}.encode()
			return resp, nil
		}
	}
	for _, m := range page.Messages {
		at.tail = m.Position
		resp.Messages = append(resp.Messages, schema.Message(m))
	}
	if page.Newer && len(page.Messages) > 0 {
		resp.NextPageToken = at.encode()
	}
	return resp, nil
}
