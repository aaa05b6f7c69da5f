package terminal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"strings"
	"unicode/utf8"

	"tertulia/chat"
	"tertulia/client"
)

// Columns of a message line in words.
const (
	indent   = "      " // before continuation lines: as wide as the time
	minWidth = 24       // columns; a narrower terminal breaks lines itself
)

// timeFormat is RFC 3339 with milliseconds.
const timeFormat = "2006-01-02T15:04:05.000Z07:00"

// Printer writes what happens in a room: as JSON lines, or in words. Its
// methods are for one goroutine; Err keeps the first failed write.
type Printer struct {
	Out    io.Writer
	JSON   bool
	Colour bool
	Width  int // columns of the terminal; 0 = not a terminal
	Err    error
}

// WriteJSON writes event as one JSON line. Runes that could act on a terminal
// are written as \u escapes, which stand for the same text.
func WriteJSON(w io.Writer, event any) error {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(event); err != nil {
		return fmt.Errorf("terminal: encode %T: %w", event, err)
	}
	line := b.Bytes()
	if bytes.ContainsFunc(line, unsafeInJSON) {
		var escaped bytes.Buffer
		for _, r := range b.String() {
			if unsafeInJSON(r) {
				fmt.Fprintf(&escaped, `\u%04x`, r)
			} else {
				escaped.WriteRune(r)
			}
		}
		line = escaped.Bytes()
	}
	_, err := w.Write(line)
	return err
}

func unsafeInJSON(r rune) bool { return r >= 0x7f && unsafeRune(r) }

func (p *Printer) json(event any) {
	if err := WriteJSON(p.Out, event); err != nil && p.Err == nil {
		p.Err = err
	}
}

func (p *Printer) line(text string) {
	if _, err := io.WriteString(p.Out, text+"\n"); err != nil && p.Err == nil {
		p.Err = err
	}
}

// status writes a line of the program itself. It begins with a mark that no
// message line has.
func (p *Printer) status(text string) {
	p.line(p.dim("-- " + Escape(text)))
}

func (p *Printer) dim(s string) string {
	if !p.Colour {
		return s
	}
	return "\x1b[2m" + s + "\x1b[0m"
}

func (p *Printer) bold(s string, colour uint32) string {
	if !p.Colour {
		return s
	}
	return fmt.Sprintf("\x1b[1;3%dm%s\x1b[0m", 1+colour%6, s)
}

// messageEvent is a message or system line. What only final messages have is
// absent while the message is tentative.
type messageEvent struct {
	Event      string  `json:"event,omitempty"`
	ID         string  `json:"id"`
	Room       string  `json:"room"`
	RoomID     string  `json:"room_id"`
	Kind       string  `json:"kind,omitempty"` // system lines only
	Origin     string  `json:"origin"`
	Sender     string  `json:"sender"`
	SenderID   string  `json:"sender_id,omitempty"`
	Text       string  `json:"text"`
	ReplyTo    string  `json:"reply_to,omitempty"`
	State      string  `json:"state"`
	Lamport    uint64  `json:"lamport_ts"`
	Time       string  `json:"time"`
	ClientID   string  `json:"client_id"`
	Unreadable bool    `json:"unreadable,omitempty"`
	Index      *uint64 `json:"index,omitempty"`
	OrderHash  string  `json:"order_hash,omitempty"`
	Epoch      *uint64 `json:"epoch,omitempty"`
	SeqNumber  *uint64 `json:"seq_number,omitempty"` // leader epochs only
	LeaderID   string  `json:"leader_id,omitempty"`  // leader epochs only
	Late       *bool   `json:"late,omitempty"`
}

func newMessageEvent(m chat.Message) messageEvent {
	e := messageEvent{
		Event:      "message",
		ID:         m.ID,
		Room:       m.Room,
		RoomID:     m.RoomID,
		Origin:     m.Origin,
		Sender:     m.Sender,
		SenderID:   m.SenderID,
		Text:       m.Text,
		ReplyTo:    m.ReplyTo,
		State:      string(m.State),
		Lamport:    m.Lamport,
		Time:       m.Time.UTC().Format(timeFormat),
		ClientID:   m.ClientID,
		Unreadable: m.Unreadable,
	}
	if m.Kind != chat.KindText {
		e.Event, e.Kind, e.Text = "system", string(m.Kind), systemText(m)
	}
	if m.State == chat.Final {
		e.Index, e.OrderHash, e.Epoch, e.Late = &m.Index, m.Hash, &m.Epoch, &m.Late
		if m.Leader != "" {
			e.SeqNumber, e.LeaderID = &m.Index, m.Leader
		}
	}
	return e
}

// systemText says what a line that is no message stands for.
func systemText(m chat.Message) string {
	if m.Text != "" {
		return m.Text
	}
	switch m.Kind {
	case chat.KindJoined:
		return m.Sender + " joined"
	case chat.KindLeft:
		return m.Sender + " left"
	case chat.KindRenamed:
		return m.Sender + " has another name"
	case chat.KindOrdering:
		return "the order of the room was switched"
	case chat.KindTitle:
		return "the room has another name"
	case chat.KindText, chat.KindUnknown:
	}
	return "this line needs a newer version"
}

// Message writes one line of a room's history.
func (p *Printer) Message(m chat.Message) {
	if p.JSON {
		p.json(newMessageEvent(m))
		return
	}
	clock := "--:--"
	if !m.Time.IsZero() {
		clock = m.Time.Local().Format("15:04")
	}
	clock = p.dim(clock)
	tick := " …"
	if m.State == chat.Final {
		tick = ""
	}
	tick = p.dim(tick)
	if m.Kind != chat.KindText {
		lines := wrap("* "+systemText(m), p.textWidth(0))
		p.line(clock + " " + strings.Join(lines, "\n"+indent) + tick)
		return
	}
	name := escapeName(m.Sender)
	text := m.Text
	if m.Unreadable {
		text = "(not readable yet: the room's key has not arrived)"
	}
	// The first line is narrower than the rest by the name before it.
	room := p.textWidth(2)
	before := columns(name) + 2
	lines := wrap(strings.Repeat("x", min(before, room))+text, room)
	lines[0] = lines[0][min(before, room):]
	hash := fnv.New32a()
	hash.Write([]byte(m.SenderID))
	p.line(clock + " " + p.bold(name, hash.Sum32()) + ": " + strings.Join(lines, "\n"+indent) + tick)
}

// textWidth is how wide text may be beside the time and spare more columns.
func (p *Printer) textWidth(spare int) int {
	if p.Width == 0 {
		return 0
	}
	return max(p.Width, minWidth) - len(indent) - spare
}

func columns(s string) int {
	n := 0
	for _, r := range s {
		n++
		if r >= utf8.RuneSelf {
			n++
		}
	}
	return n
}

// attached tells where we are; index is that of the newest final message shown.
func (p *Printer) attached(a client.Attached, index uint64) {
	if p.JSON {
		p.json(struct {
			Event      string `json:"event"`
			NodeID     string `json:"node_id"`
			PeerID     string `json:"peer_id"`
			Room       string `json:"room"`
			RoomID     string `json:"room_id"`
			FinalIndex uint64 `json:"final_index"`
		}{"attached", a.NodeID, a.PeerID, a.Room, a.RoomID, a.FinalIndex})
		return
	}
	p.status(fmt.Sprintf("in %s, on node %s", a.Room, a.NodeID))
	if a.FinalIndex < index {
		p.status(fmt.Sprintf("this node has %d of %d final messages yet; what is new shows when it has the rest", a.FinalIndex, index))
	}
}

func (p *Printer) detached(reason string) {
	if p.JSON {
		p.json(struct {
			Event  string `json:"event"`
			Reason string `json:"reason"`
		}{"detached", reason})
		return
	}
	p.status("not connected: " + reason)
}

func (p *Printer) sent(s chat.Sent) {
	if p.JSON {
		p.json(struct {
			Event     string `json:"event"`
			ClientID  string `json:"client_id"`
			ID        string `json:"id"`
			Duplicate bool   `json:"duplicate,omitempty"`
		}{"sent", s.ClientID, s.ID, s.Duplicate})
	}
}

func (p *Printer) replaced(id, by, clientID string) {
	if p.JSON {
		p.json(struct {
			Event    string `json:"event"`
			ID       string `json:"id"`
			By       string `json:"by"`
			ClientID string `json:"client_id"`
		}{"replaced", id, by, clientID})
	}
}

// read tells how far a person has read a room.
func (p *Printer) read(room chat.Room, r chat.Reader) {
	if p.JSON {
		p.json(struct {
			Event    string `json:"event"`
			Room     string `json:"room"`
			RoomID   string `json:"room_id"`
			Reader   string `json:"reader"`
			ReaderID string `json:"reader_id"`
			UpTo     uint64 `json:"up_to"`
		}{"read", room.Name, room.ID, r.Name, r.ID, r.UpTo})
	}
}

func (p *Printer) replyRead(room chat.Room, id string) {
	if p.JSON {
		p.json(struct {
			Event  string `json:"event"`
			To     string `json:"to"`
			Room   string `json:"room"`
			RoomID string `json:"room_id"`
			ID     string `json:"id"`
		}{"reply", "read", room.Name, room.ID, id})
	}
}

// confirmationLine is a message and who has read it as a JSON value.
type confirmationLine struct {
	ID      string   `json:"id"`
	Index   uint64   `json:"index"` // 0: not final yet
	Text    string   `json:"text"`
	Readers []string `json:"readers"`
}

func (p *Printer) replyConfirmations(room chat.Room, list []chat.Confirmation) {
	lines := make([]confirmationLine, len(list))
	for i, c := range list {
		lines[i] = confirmationLine{c.Message.ID, c.Message.Index, c.Message.Text, make([]string, 0, len(c.Readers))}
		for _, r := range c.Readers {
			lines[i].Readers = append(lines[i].Readers, r.Name)
		}
	}
	if p.JSON {
		p.json(struct {
			Event         string             `json:"event"`
			To            string             `json:"to"`
			Room          string             `json:"room"`
			RoomID        string             `json:"room_id"`
			Confirmations []confirmationLine `json:"confirmations"`
		}{"reply", "confirmations", room.Name, room.ID, lines})
		return
	}
	for _, l := range lines {
		readers := "nobody yet"
		if len(l.Readers) > 0 {
			readers = strings.Join(l.Readers, ", ")
		}
		p.status(fmt.Sprintf("%d “%s”: %s", l.Index, quote(l.Text), readers))
	}
	if len(lines) == 0 {
		p.status("none of your messages here is final yet")
	}
}

// problem tells err; clientID names the line it is about, if any.
func (p *Printer) problem(err error, clientID string) {
	message, hint := Words(err)
	if p.JSON {
		p.json(struct {
			Event    string `json:"event"`
			Message  string `json:"message"`
			Hint     string `json:"hint,omitempty"`
			ClientID string `json:"client_id,omitempty"`
		}{"error", message, hint, clientID})
		return
	}
	p.status(message)
	if hint != "" {
		p.status("hint: " + hint)
	}
}

// Words returns what a person is told of err: the message and hint of the
// chat.Error in it, without its cause.
func Words(err error) (message, hint string) {
	if told, ok := errors.AsType[*chat.Error](err); ok {
		return told.Message, told.Hint
	}
	return err.Error(), ""
}

func (p *Printer) replyHistory(room chat.Room, messages []chat.Message) {
	if !p.JSON {
		for _, m := range messages {
			p.Message(m)
		}
		p.status(fmt.Sprintf("that was %d of %d in %s", len(messages), room.Total, room.Name))
		return
	}
	list := make([]messageEvent, len(messages))
	for i, m := range messages {
		list[i] = newMessageEvent(m)
		list[i].Event = ""
	}
	p.json(struct {
		Event    string         `json:"event"`
		To       string         `json:"to"`
		Room     string         `json:"room"`
		RoomID   string         `json:"room_id"`
		Messages []messageEvent `json:"messages"`
	}{"reply", "history", room.Name, room.ID, list})
}

// MemberLine is a member as a JSON value.
type MemberLine struct {
	NodeID      string `json:"node_id"`
	PeerID      string `json:"peer_id"`
	Fingerprint string `json:"fingerprint"`
	Creator     bool   `json:"creator"`
	Self        bool   `json:"self"`
	State       string `json:"state"`
}

// MemberLines returns ms as JSON values.
func MemberLines(ms []chat.Member) []MemberLine {
	lines := make([]MemberLine, len(ms))
	for i, m := range ms {
		lines[i] = MemberLine{m.Name, m.PeerID, m.Fingerprint, m.Creator, m.Self, string(m.State)}
	}
	return lines
}

func (p *Printer) replyWho(room chat.Room, members []chat.Member) {
	if !p.JSON {
		for _, m := range members {
			p.status(MemberWords(m))
		}
		return
	}
	p.json(struct {
		Event   string       `json:"event"`
		To      string       `json:"to"`
		Room    string       `json:"room"`
		RoomID  string       `json:"room_id"`
		Members []MemberLine `json:"members"`
	}{"reply", "who", room.Name, room.ID, MemberLines(members)})
}

// MemberWords is a member on one line, controls escaped.
func MemberWords(m chat.Member) string {
	text := fmt.Sprintf("%-16s %-10s %s", Escape(m.Name), m.State, m.Fingerprint)
	if m.Self {
		text += "  (this node)"
	}
	if m.Creator {
		text += "  (made the room)"
	}
	return text
}

// RoomLine is a room as a JSON value.
type RoomLine struct {
	Room       string `json:"room"`
	RoomID     string `json:"room_id"`
	Ordering   string `json:"ordering"`
	State      string `json:"state"`
	Reason     string `json:"reason,omitempty"`
	Members    int    `json:"members"`
	Online     int    `json:"online"`
	Unread     int    `json:"unread"`
	Total      uint64 `json:"total"`
	FinalIndex uint64 `json:"final_index"`
	Waiting    string `json:"waiting,omitempty"`
}

// RoomLines returns rs as JSON values.
func RoomLines(rs []chat.Room) []RoomLine {
	lines := make([]RoomLine, len(rs))
	for i, r := range rs {
		lines[i] = RoomLine{r.Name, r.ID, string(r.Order), string(r.State), r.Reason, r.Members, r.Online, r.Unread, r.Total, r.FinalIndex, r.Waiting}
	}
	return lines
}

func (p *Printer) replyRooms(rooms []chat.Room) {
	if !p.JSON {
		for _, r := range rooms {
			p.status(RoomWords(r))
		}
		return
	}
	p.json(struct {
		Event string     `json:"event"`
		To    string     `json:"to"`
		Rooms []RoomLine `json:"rooms"`
	}{"reply", "rooms", RoomLines(rooms)})
}

// RoomWords is a room on one line, controls escaped.
func RoomWords(r chat.Room) string {
	text := fmt.Sprintf("%-20s %s  %-7s  %d of %d online, %d messages", Escape(r.Name), r.ID[:min(len(r.ID), 12)], r.Order, r.Online, r.Members, r.Total)
	if r.State != chat.Joined {
		text += "  (" + string(r.State) + ")"
	}
	if r.Reason != "" {
		text += "  " + Escape(r.Reason)
	}
	if r.Waiting != "" {
		text += "  " + Escape(r.Waiting)
	}
	return text
}

func (p *Printer) replyRoom(room chat.Room) {
	if p.JSON {
		p.json(struct {
			Event  string `json:"event"`
			To     string `json:"to"`
			Room   string `json:"room"`
			RoomID string `json:"room_id"`
		}{"reply", "room", room.Name, room.ID})
	}
}

func (p *Printer) replyHelp() {
	if p.JSON {
		names := make([]string, len(slashCommands))
		for i, c := range slashCommands {
			names[i] = c.usage
		}
		p.json(struct {
			Event    string   `json:"event"`
			To       string   `json:"to"`
			Commands []string `json:"commands"`
		}{"reply", "help", names})
		return
	}
	for _, c := range slashCommands {
		p.status(fmt.Sprintf("%-20s %s", c.usage, c.what))
	}
	p.status("Anything else is a message; // begins a message with a slash.")
}

var slashCommands = [...]struct{ usage, what string }{
	{"/history", "the last messages"},
	{"/who", "who may write here"},
	{"/rooms", "the rooms of this node"},
	{"/room NAME", "talk in another room"},
	{"/read ID", "say that you have read up to a message"},
	{"/confirmations [ID]", "who has read a message, or your last ones"},
	{"/help", "this list"},
	{"/quit", "leave when everything is sent"},
}
