package api

import (
	"context"
	"strings"

	"tertulia/api/schema"
	pb "tertulia/api/tertulia/v1"
	"tertulia/chat"
)

// walkMessages is how many messages one step of a walk or of the live part
// holds in memory, at most.
const walkMessages = 100

// beforeAll returns a position before every message of a room, "" when there
// is none. All positions of a node are hex digits of one length, so that as
// many zeros stand before them.
func beforeAll(ctx context.Context, n Node, room string) (string, error) {
	page, err := n.Page(ctx, chat.PageQuery{Room: room, Limit: 1})
	if err != nil || len(page.Messages) == 0 {
		return "", err
	}
	return strings.Repeat("0", len(page.Messages[0].Position)), nil
}

// deliver runs one Messages stream until send fails or ctx ends.
//
// A mark, the newest arrival when the stream begins, divides the room: what
// had arrived by then is walked in predicted order, the rest follows by
// arrival. A message is on one side only, so that none is sent twice and none
// is forgotten, however many arrive during the walk.
func deliver(ctx context.Context, n Node, req *pb.MessagesRequest, send func(*pb.MessagesResponse) error) error {
	changes := n.Changes(ctx) // before the first read: what arrives after it ticks
	room, err := n.Room(ctx, roomRef(req.GetRoom()))
	if err != nil {
		return err
	}
	view, err := n.View(ctx)
	if err != nil {
		return err
	}
	mark, position, walked := req.GetResume().GetArrival(), string(req.GetResume().GetPosition()), req.GetResume().GetWalked()
	if req.GetResume() == nil {
		if mark, err = newestArrival(ctx, n, room.ID); err != nil {
			return err
		}
	}
	if err := send(&pb.MessagesResponse{Event: &pb.MessagesResponse_Attached{Attached: &pb.Attached{
		NodeId:     view.NodeID,
		PeerId:     view.PeerID,
		Room:       room.Name,
		RoomId:     room.ID,
		FinalIndex: room.FinalIndex,
		Arrival:    mark,
	}}}); err != nil {
		return err
	}

	sendMessage := func(m chat.Message) error {
		return send(&pb.MessagesResponse{Event: &pb.MessagesResponse_Message{Message: schema.Message(m)}})
	}
	if !walked {
		err := walk(ctx, n, room.ID, position, func(m chat.Message) error {
			if m.Arrival > mark || m.State == chat.Final && !(req.GetReplay() && m.Index >= req.GetFrom()) {
				return nil
			}
			return sendMessage(m)
		})
		if err != nil {
			return err
		}
	}
	if err := send(&pb.MessagesResponse{Event: &pb.MessagesResponse_CaughtUp{CaughtUp: &pb.CaughtUp{}}}); err != nil {
		return err
	}
	for {
		if mark, err = sendSince(ctx, n, room.ID, mark, sendMessage); err != nil {
			return err
		}
		if _, open := <-changes; !open {
			return ended(ctx)
		}
	}
}

// sendSince sends everything stored after mark and returns the new mark.
func sendSince(ctx context.Context, n Node, room string, mark uint64, send func(chat.Message) error) (uint64, error) {
	for {
		messages, err := n.Since(ctx, room, mark, walkMessages)
		if err != nil {
			return mark, err
		}
		for _, m := range messages {
			if err := send(m); err != nil {
				return mark, err
			}
			mark = m.Arrival
		}
		if len(messages) < walkMessages {
			return mark, nil
		}
	}
}

// walk calls each for the room's messages after position ("" = all), in
// predicted order.
func walk(ctx context.Context, n Node, room, position string, each func(chat.Message) error) error {
	if position == "" {
		var err error
		if position, err = beforeAll(ctx, n, room); err != nil || position == "" {
			return err
		}
	}
	for {
		page, err := n.Page(ctx, chat.PageQuery{Room: room, After: position, Limit: walkMessages})
		if err != nil {
			return err
		}
		for _, m := range page.Messages {
			if err := each(m); err != nil {
				return err
			}
			position = m.Position
		}
		if !page.Newer || len(page.Messages) == 0 {
			return nil
		}
	}
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

// history answers one page of History: final messages of the indexes asked
// for and, when asked for, the tentative tail after them.
func history(ctx context.Context, n Node, req *pb.HistoryRequest) (*pb.HistoryResponse, error) {
	room := roomRef(req.GetRoom())
	position := string(req.GetPageToken())
	if position == "" {
		var err error
		if position, err = beforeAll(ctx, n, room); err != nil || position == "" {
			return &pb.HistoryResponse{}, err
		}
	}
	page, err := n.Page(ctx, chat.PageQuery{Room: room, After: position, Limit: walkMessages})
	if err != nil {
		return nil, err
	}
	first := max(req.GetFrom(), 1)
	resp := &pb.HistoryResponse{}
	for _, m := range page.Messages {
		wanted := req.GetTentative()
		if m.State == chat.Final {
			wanted = m.Index >= first && (req.GetLimit() == 0 || m.Index-first < req.GetLimit())
		}
		if wanted {
			resp.Messages = append(resp.Messages, schema.Message(m))
		}
	}
	if page.Newer && len(page.Messages) > 0 {
		resp.NextPageToken = []byte(page.Messages[len(page.Messages)-1].Position)
	}
	return resp, nil
}
