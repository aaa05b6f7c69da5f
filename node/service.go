package node

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"tertulia/chat"
	"tertulia/ordering"
	"tertulia/p2p"
	"tertulia/storage"
)

// What people ask of a node, in the words of package chat.

const shortestPrefix = 6 // characters of a room id that may stand for it

// find returns the room with a name, an id or a unique prefix of one.
func (n *Node) find(ref string) (*room, error) {
	var named, prefixed []*room
	for _, r := range n.rooms.Load().list {
		v := r.view.Load()
		if v.meta.State == stateLeft {
			continue
		}
		if v.meta.Name == ref {
			named = append(named, r)
		}
		if len(ref) >= shortestPrefix && strings.HasPrefix(r.id.String(), strings.ToLower(ref)) {
			prefixed = append(prefixed, r)
		}
	}
	found := named
	if len(found) == 0 {
		found = prefixed
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, chat.Errorf(chat.CodeNotFound, "There is no room %q on this node.", ref).
			WithHint("`tertulia rooms` lists the rooms; an invite lets this node join another.")
	}
	ids := make([]string, len(found))
	for i, r := range found {
		ids[i] = r.id.String()[:12]
	}
	return nil, chat.Errorf(chat.CodeAmbiguous, "%q stands for %d rooms: %s.", ref, len(found), strings.Join(ids, ", ")).
		WithHint("Name the room by the beginning of its id.")
}

// Room returns a room by name, id or unique prefix of 6 or more characters.
func (n *Node) Room(ctx context.Context, ref string) (chat.Room, error) {
	r, err := n.find(ref)
	if err != nil {
		return chat.Room{}, err
	}
	return n.roomOf(ctx, r)
}

// Rooms lists the rooms, that with the newest message first.
func (n *Node) Rooms(ctx context.Context) ([]chat.Room, error) {
	var list []chat.Room
	for _, r := range n.rooms.Load().list {
		if r.view.Load().meta.State == stateLeft {
			continue
		}
		c, err := n.roomOf(ctx, r)
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	slices.SortStableFunc(list, func(a, b chat.Room) int { return cmp.Compare(newest(b), newest(a)) })
	return list, nil
}

func newest(r chat.Room) int64 {
	if r.Last == nil {
		return 0
	}
	return r.Last.Time.UnixMilli()
}

// roomOf tells of a room what a list shows.
func (n *Node) roomOf(ctx context.Context, r *room) (chat.Room, error) {
	v := r.view.Load()
	c := chat.Room{
		ID: r.id.String(), Name: v.meta.Name, Order: orderOf(v.mode()),
		State: chat.RoomState(v.meta.State), Reason: v.meta.Reason,
		Members: len(v.member), FinalIndex: v.order.FinalIndex,
		Typing: v.typing, Settings: v.settings, Merges: v.merges,
	}
	c.Waiting, c.WaitsFor = n.waiting(v)
	c.Forked = r.namesOf(slices.DeleteFunc(slices.Clone(v.order.Forks), func(o ordering.Origin) bool { return !v.member[o.Device] }))
	own, _ := n.profile()
	c.Readers = v.readersBut(own.person)
	if v.self {
		c.Online = 1
	}
	for _, d := range v.connected {
		if v.member[d] {
			c.Online++
		}
	}
	if c.State == chat.Joining {
		c.Progress = chat.Progress{Have: v.entries, Want: v.meta.Target.Count()}
	}
	total, unread, err := n.store.Counts(ctx, r.id)
	if err != nil {
		return c, err
	}
	c.Total, c.Unread = total, int(unread)
	if unread > 0 {
		switch first, err := n.store.FirstUnread(ctx, r.id); {
		case err == nil:
			c.FirstUnread = first.String()
		case !errors.Is(err, storage.ErrNotFound): // read meanwhile
			return c, err
		}
	}
	rows, _, _, err := n.store.Page(ctx, r.id, storage.Query{Limit: 1})
	if err != nil {
		return c, err
	}
	if len(rows) > 0 {
		m := n.messageOf(r, rows[0])
		c.Last = &m
	}
	return c, nil
}

// waiting says in words whom a room waits for, and names them.
func (n *Node) waiting(v *roomView) (words string, names []string) {
	if v.meta.State == string(chat.Failed) {
		return v.meta.Reason, nil
	}
	if v.meta.State == string(chat.Joining) {
		if len(v.connected) > 0 {
			return "Fetching the history.", nil
		}
		return cmp.Or(v.meta.Reason, "Asking to be let in."), nil
	}
	var away []string
	for _, m := range v.members {
		if !m.Former && m.Device != n.id.origin.Device && !slices.Contains(v.connected, m.Device) {
			away = append(away, v.names[m.Device])
		}
	}
	switch others := len(v.member) - 1; {
	case v.order.Diverged > 0:
		return fmt.Sprintf("This node and another hold different histories from position %d on. It stopped making messages final; compare `tertulia verify` on both.", v.order.Diverged), nil
	case !v.self:
		return "This device is no longer a member.", nil
	case others <= 0:
		return "You are the only one here. Invite somebody.", nil
	case len(away) == others:
		return "Waiting for " + inList(away) + ": nobody else of this room is reachable. Your messages are saved and go out when someone is.", away
	case len(v.order.WaitingFor) > 0:
		until := " can be reached again"
		if !slices.ContainsFunc(v.order.WaitingFor, func(o ordering.Origin) bool { return !slices.Contains(v.connected, o.Device) }) {
			until = " has answered"
			if len(v.order.WaitingFor) > 1 {
				until = " have answered"
			}
		}
		names = namesIn(v, v.order.WaitingFor)
		return "Nothing becomes final until " + inList(names) + until + ". Messages are saved and shown meanwhile.", names
	case len(away) > 0:
		return inList(away) + " cannot be reached now, and will get your messages later.", away
	}
	return "", nil
}

func namesIn(v *roomView, origins []ordering.Origin) []string {
	names := make([]string, len(origins))
	for i, o := range origins {
		if names[i] = v.names[o.Device]; names[i] == "" {
			names[i] = "~" + o.Tag()
		}
	}
	return names
}

// inList joins names as a sentence does, and counts what is too long to name.
func inList(names []string) string {
	const most = 3
	switch {
	case len(names) == 1:
		return names[0]
	case len(names) > most:
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// View returns what a window shows.
func (n *Node) View(ctx context.Context) (chat.View, error) {
	rooms, err := n.Rooms(ctx)
	if err != nil {
		return chat.View{}, err
	}
	n.mu.Lock()
	name := n.username
	n.mu.Unlock()
	v := chat.View{
		NodeID: n.id.nodeID, PeerID: n.PeerID(), Username: name, Rooms: rooms,
		Peers: n.peerList(), Healthy: n.diskState.Load() == nil,
	}
	v.Network = n.networkInWords(v)
	return v, nil
}

func (n *Node) networkInWords(v chat.View) string {
	online := 0 // members of our rooms; whoever else is connected is no company
	for _, p := range n.net.Peers() {
		if p.Member && p.State == p2p.Connected {
			online++
		}
	}
	others := false
	for _, r := range v.Rooms {
		others = others || r.Members > 1 || r.State == chat.Joining
	}
	switch {
	case !v.Healthy:
		return inWords(n.diskError())
	case online == 1:
		return "Connected with one other member."
	case online > 1:
		return fmt.Sprintf("Connected with %d other members.", online)
	case others:
		return "Nobody is reachable. Your messages are saved and go out when someone is. Check that this computer is on a network."
	}
	return "Not connected with anybody yet. Invite somebody, or paste an invite."
}

// inWords is an error as people read it.
func inWords(err error) string {
	if e, ok := errors.AsType[*chat.Error](err); ok {
		return strings.TrimSpace(e.Message + " " + e.Hint)
	}
	return err.Error()
}

func (n *Node) peerList() []chat.Peer {
	var list []chat.Peer
	for _, p := range n.net.Peers() {
		c := chat.Peer{Name: n.nameOf(p.Device), PeerID: p.PeerID, RTT: p.RTT, Addr: p.Addr, Relayed: p.Relayed}
		switch p.State {
		case p2p.Connected:
			c.State = chat.PeerConnected
		case p2p.Suspected:
			c.State = chat.PeerSuspected
		case p2p.Away:
			c.State = chat.PeerLeft
			if p.Name == "" {
				c.State = chat.PeerJoined // never met
			}
		}
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b chat.Peer) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.PeerID, b.PeerID)) })
	return list
}

// Page returns messages of a room in predicted order.
func (n *Node) Page(ctx context.Context, q chat.PageQuery) (chat.Page, error) {
	r, err := n.find(q.Room)
	if err != nil {
		return chat.Page{}, err
	}
	if q.Limit < 0 || q.Limit > chat.MaxPage {
		return chat.Page{}, chat.Errorf(chat.CodeInvalid, "A page has 1 to %d messages.", chat.MaxPage)
	}
	sq := storage.Query{Limit: cmp.Or(q.Limit, 100), At: q.At}
	if sq.Before, err = positionBytes(q.Before); err != nil {
		return chat.Page{}, err
	}
	if sq.After, err = positionBytes(q.After); err != nil {
		return chat.Page{}, err
	}
	if q.Around != "" {
		row, err := n.row(ctx, r, q.Around)
		if err != nil {
			return chat.Page{}, err
		}
		sq.Around = &row.ID
	}
	rows, older, newer, err := n.store.Page(ctx, r.id, sq)
	if err != nil {
		return chat.Page{}, err
	}
	total, _, err := n.store.Counts(ctx, r.id)
	if err != nil {
		return chat.Page{}, err
	}
	return chat.Page{Messages: n.messagesOf(r, rows), Older: older, Newer: newer, Total: total}, nil
}

// Since returns messages stored after an arrival, in the order of storing.
func (n *Node) Since(ctx context.Context, ref string, arrival uint64, limit int) ([]chat.Message, error) {
	r, err := n.find(ref)
	if err != nil {
		return nil, err
	}
	rows, err := n.store.Since(ctx, r.id, arrival, min(cmp.Or(limit, 100), chat.MaxPage))
	if err != nil {
		return nil, err
	}
	return n.messagesOf(r, rows), nil
}

// Finals returns the final messages after an index, in the order of their
// indexes.
func (n *Node) Finals(ctx context.Context, ref string, after uint64, limit int) ([]chat.Message, error) {
	r, err := n.find(ref)
	if err != nil {
		return nil, err
	}
	rows, err := n.store.Finals(ctx, r.id, after, min(cmp.Or(limit, 100), chat.MaxPage))
	if err != nil {
		return nil, err
	}
	return n.messagesOf(r, rows), nil
}

// row finds a message by its id.
func (n *Node) row(ctx context.Context, r *room, id string) (storage.Row, error) {
	tag, seq, err := ordering.ParseEntryID(id)
	if err == nil {
		var row storage.Row
		if row, err = n.store.Find(ctx, r.id, tag, seq); err == nil {
			return row, nil
		}
		if !errors.Is(err, storage.ErrNotFound) {
			return row, err
		}
	}
	return storage.Row{}, chat.Errorf(chat.CodeNotFound, "There is no message %q in %s.", id, r.view.Load().meta.Name)
}

// Search returns messages that have all words of a text, the newest first.
func (n *Node) Search(ctx context.Context, q chat.SearchQuery) ([]chat.Message, error) {
	var ids []ordering.RoomID
	if q.Room != "" {
		r, err := n.find(q.Room)
		if err != nil {
			return nil, err
		}
		ids = []ordering.RoomID{r.id}
	}
	hits, err := n.store.Search(ctx, ids, q.Text, min(cmp.Or(q.Limit, 50), chat.MaxPage))
	if err != nil {
		return nil, err
	}
	var list []chat.Message
	for _, h := range hits {
		if r := n.room(h.Room); r != nil && r.view.Load().meta.State != stateLeft {
			list = append(list, n.messageOf(r, h.Row))
		}
	}
	return list, nil
}

func (n *Node) messagesOf(r *room, rows []storage.Row) []chat.Message {
	list := make([]chat.Message, len(rows))
	for i, row := range rows {
		list[i] = n.messageOf(r, row)
	}
	return list
}

// messageOf is a stored line as people read it.
func (n *Node) messageOf(r *room, row storage.Row) chat.Message {
	v := r.view.Load()
	m := chat.Message{
		ID: row.ID.String(), Room: v.meta.Name, RoomID: r.id.String(), Kind: kindOf(row.Kind),
		Origin: v.names[row.ID.Origin.Device], Sender: row.Line.Sender, SenderID: hex.EncodeToString(row.ClientKey[:8]),
		Text: row.Line.Text, State: chat.Tentative, Lamport: row.TS, Time: time.UnixMilli(row.WallMS), ClientID: row.ClientID,
		Unreadable: !row.Line.Readable, Arrival: row.Arrival,
		Position: hex.EncodeToString(row.Place()),
	}
	if f := row.Final; f.Index > 0 {
		m.State, m.Index, m.Hash, m.Epoch, m.Late = chat.Final, f.Index, f.OrderHash.String(), f.Epoch, f.Late
		if f.Leader != (ordering.Origin{}) {
			m.Leader = r.nameOf(f.Leader)
		}
	}
	if m.Origin == "" {
		m.Origin = row.ID.Origin.Tag()
	}
	if row.ClientKey == ([32]byte{}) { // no person's doing
		m.SenderID = ""
	}
	if row.Line.ReplyTo != nil {
		m.ReplyTo = row.Line.ReplyTo.String()
	}
	if m.Kind != chat.KindText && row.Line.Readable {
		m.Text = systemText(m.Kind, row.Line)
	}
	n.mu.Lock()
	key, ok := n.clients[m.Sender]
	n.mu.Unlock()
	if m.Mine = ok && bytes.Equal(key[32:], row.ClientKey[:]); m.Mine {
		m.Received = 1
		for _, h := range v.held {
			if h.Origin == row.ID.Origin {
				m.Received += h.By(row.ID.Seq)
			}
		}
	}
	return m
}

func systemText(k chat.Kind, l storage.Line) string {
	switch k {
	case chat.KindJoined:
		return l.Sender + " joined"
	case chat.KindLeft:
		return l.Sender + " left"
	case chat.KindRenamed:
		return l.Text + " is now " + l.Sender
	case chat.KindOrdering:
		name := map[chat.Order]string{chat.Lamport: "Lamport", chat.Leader: "Leader"}[chat.Order(l.Text)]
		return "the order of this room is now " + cmp.Or(name, l.Text)
	case chat.KindTitle:
		return "the conversation was renamed to " + l.Text
	case chat.KindText, chat.KindUnknown:
	}
	return ""
}

func kindOf(k ordering.Kind) chat.Kind {
	switch k {
	case ordering.KindMessage:
		return chat.KindText
	case ordering.KindJoined:
		return chat.KindJoined
	case ordering.KindLeft:
		return chat.KindLeft
	case ordering.KindRenamed:
		return chat.KindRenamed
	case ordering.KindSwitch:
		return chat.KindOrdering
	case ordering.KindTitle:
		return chat.KindTitle
	case ordering.KindGenesis, ordering.KindAdmit, ordering.KindInvite, ordering.KindRevoke,
		ordering.KindLeave, ordering.KindRemove, ordering.KindKey, ordering.KindNull:
	}
	return chat.KindUnknown
}

func positionBytes(s string) ([]byte, error) {
	switch s {
	case "":
		return nil, nil
	case chat.BeforeAll:
		return storage.FinalPlace(0), nil
	case chat.BeforeTentative:
		return storage.FinalPlace(math.MaxUint64), nil
	}
	b, err := hex.DecodeString(s)
	if err != nil || !storage.IsPlace(b) {
		return nil, chat.Errorf(chat.CodeInvalid, "%q is not a position in a room.", s)
	}
	return b, nil
}

// Send takes a message. It returns when the message is on this node's disk, and
// waits on nobody else.
func (n *Node) Send(ctx context.Context, d chat.Draft) (chat.Sent, error) {
	r, err := n.find(d.Room)
	if err != nil {
		return chat.Sent{}, err
	}
	switch {
	case strings.TrimSpace(d.Text) == "":
		return chat.Sent{}, chat.Errorf(chat.CodeInvalid, "The message is empty.")
	case !utf8.ValidString(d.Text):
		return chat.Sent{}, chat.Errorf(chat.CodeInvalid, "The message is not UTF-8 text.").WithHint("Convert it to UTF-8.")
	case len(d.Text) > chat.MaxTextBytes:
		return chat.Sent{}, chat.Errorf(chat.CodeInvalid, "The message has %d bytes; at most %d can be sent.", len(d.Text), chat.MaxTextBytes).
			WithHint("Send it in parts.")
	case len(d.ClientID) > ordering.MaxClientID:
		return chat.Sent{}, chat.Errorf(chat.CodeInvalid, "The client id has %d bytes; at most %d are allowed.", len(d.ClientID), ordering.MaxClientID)
	}
	name, err := n.author(d.Username)
	if err != nil {
		return chat.Sent{}, err
	}
	p := ordering.Payload{Name: name, Text: d.Text}
	if d.ReplyTo != "" {
		row, err := n.row(ctx, r, d.ReplyTo)
		if err != nil {
			return chat.Sent{}, err
		}
		p.ReplyTo = &row.ID
	}
	id := d.ClientID
	if id == "" {
		id = uuid.NewString()
	}
	key, err := n.clientKey(ctx, name)
	if err != nil {
		return chat.Sent{}, err
	}
	says := []*saying{r.person(key, ordering.KindMessage, id, p)}
	joined := joinedKey{r.id, name}
	first := !n.isNoted(joined)
	if first { // who speaks has joined
		says = append([]*saying{r.person(key, ordering.KindJoined, clientJoined, ordering.Payload{Name: name})}, says...)
	}
	ref, duplicate, err := r.sayAndWait(ctx, says...)
	if err != nil {
		return chat.Sent{}, err
	}
	if first {
		n.note(joined)
	}
	return chat.Sent{ID: ref.EntryID.String(), ClientID: id, Duplicate: duplicate}, nil
}

// author returns the name to write under.
func (n *Node) author(username string) (string, error) {
	if username == "" {
		n.mu.Lock()
		username = cmp.Or(n.username, n.id.nodeID)
		n.mu.Unlock()
	}
	return cleanName("Your name", username)
}

// Client ids of what a person does once in a room.
const (
	clientJoined = "tertulia/joined"
	clientLeft   = "tertulia/left"
)

// JoinUser writes that a person joined a room, the first time.
func (n *Node) JoinUser(ctx context.Context, room, username string) error {
	return n.announce(ctx, room, username, ordering.KindJoined, clientJoined)
}

// LeaveUser writes that a person left a room. The device stays a member.
func (n *Node) LeaveUser(ctx context.Context, room, username string) error {
	return n.announce(ctx, room, username, ordering.KindLeft, clientLeft)
}

func (n *Node) announce(ctx context.Context, ref, username string, kind ordering.Kind, id string) error {
	r, err := n.find(ref)
	if err != nil {
		return err
	}
	name, err := n.author(username)
	if err != nil {
		return err
	}
	key, err := n.clientKey(ctx, name)
	if err != nil {
		return err
	}
	_, _, err = r.sayAndWait(ctx, r.person(key, kind, id, ordering.Payload{Name: name}))
	return err
}

// joinedKey names a person in a room whose joined line is stored.
type joinedKey struct {
	room     ordering.RoomID
	username string
}

func (n *Node) isNoted(k joinedKey) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.joined[k]
}

func (n *Node) note(k joinedKey) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.joined) < maxClients {
		n.joined[k] = true
	}
}

// SetUsername chooses the name that this profile's window writes under.
func (n *Node) SetUsername(ctx context.Context, name string) error {
	name, err := cleanName("Your name", name)
	if err != nil {
		return err
	}
	if err := n.store.Put(ctx, settingUsername, []byte(name)); err != nil {
		return err
	}
	n.mu.Lock()
	n.username = name
	n.mu.Unlock()
	n.notify()
	return nil
}

// MarkRead notes how far a room was read on this node. It never goes back.
func (n *Node) MarkRead(ctx context.Context, ref, position string) error {
	r, err := n.find(ref)
	if err != nil {
		return err
	}
	to, err := positionBytes(position)
	if err != nil {
		return err
	}
	if err := n.store.Commit(ctx, &storage.Write{Room: r.id, ReadTo: to}); err != nil {
		return err
	}
	return n.markedRead(ctx, r)
}

// Members lists the devices that may write in a room.
func (n *Node) Members(_ context.Context, ref string) ([]chat.Member, error) {
	r, err := n.find(ref)
	if err != nil {
		return nil, err
	}
	v := r.view.Load()
	states := make(map[string]chat.PeerState)
	for _, p := range n.peerList() {
		states[p.PeerID] = p.State
	}
	var list []chat.Member
	for _, m := range v.members {
		if m.Former {
			continue
		}
		c := chat.Member{
			Name: v.names[m.Device], PeerID: p2p.PeerIDOf(m.Device), Fingerprint: m.Device.Fingerprint(),
			Creator: m.Creator, Self: m.Device == n.id.origin.Device,
		}
		c.State = cmp.Or(states[c.PeerID], chat.PeerJoined)
		if c.Self {
			c.State = chat.PeerConnected
		}
		list = append(list, c)
	}
	return list, nil
}

// Status tells how the node is.
func (n *Node) Status(ctx context.Context) (chat.Status, error) {
	s := chat.Status{
		NodeID: n.id.nodeID, PeerID: n.PeerID(), Version: n.cfg.Version, Uptime: time.Since(n.started),
		Addrs: n.Addrs(), Peers: n.peerList(), Refused: make(map[string]uint64), Disk: "ok",
	}
	if n.diskState.Load() != nil {
		s.Disk = inWords(n.diskError())
	}
	for i, reason := range reasons {
		if c := n.refusals[i].Load(); c > 0 {
			s.Refused[string(reason)] = c
		}
	}
	for _, r := range n.rooms.Load().list {
		v := r.view.Load()
		for reason, c := range v.refused {
			s.Refused[string(reason)] += c
		}
		if v.meta.State == stateLeft {
			continue
		}
		rs, err := n.roomStatus(ctx, r)
		if err != nil {
			return s, err
		}
		s.Rooms = append(s.Rooms, rs)
	}
	return s, nil
}

func (r *room) namesOf(origins []ordering.Origin) []string {
	names := make([]string, len(origins))
	for i, o := range origins {
		names[i] = r.nameOf(o)
	}
	slices.Sort(names)
	return names
}

func (n *Node) roomStatus(ctx context.Context, r *room) (chat.RoomStatus, error) {
	v := r.view.Load()
	total, _, err := n.store.Counts(ctx, r.id)
	if err != nil {
		return chat.RoomStatus{}, err
	}
	s := chat.RoomStatus{
		Name: v.meta.Name, ID: r.id.String(), Order: orderOf(v.mode()), State: chat.RoomState(v.meta.State),
		Epoch: v.order.Epoch, Term: v.order.Term, FinalIndex: v.order.FinalIndex,
		OrderHash: r.id.String(), // of the empty final list
		Tentative: total - min(total, v.order.FinalIndex), Clocks: make(map[string]uint64), Parked: v.parked, Diverged: v.order.Diverged,
		View: r.namesOf(v.order.View), Voters: r.namesOf(v.order.Voters), WaitingFor: r.namesOf(v.order.WaitingFor),
		Forked: r.namesOf(v.order.Forks),
	}
	if len(v.order.Outgoing) > 0 { // nothing is decided without them until the change is over
		s.Voters = r.namesOf(v.order.Outgoing)
	}
	if v.order.FinalIndex > 0 {
		s.OrderHash = v.order.OrderHash.String()
	}
	if v.order.Leader != (ordering.Origin{}) {
		s.Leader = r.nameOf(v.order.Leader)
	}
	s.Replicas = append(s.Replicas, chat.Replica{NodeID: n.id.nodeID, FinalIndex: v.order.FinalIndex, OrderHash: s.OrderHash, Diverged: v.order.Diverged > 0})
	for _, p := range v.order.Replicas {
		s.Replicas = append(s.Replicas, chat.Replica{NodeID: r.nameOf(p.Origin), FinalIndex: p.FinalIndex, OrderHash: p.OrderHash.String(), Diverged: p.Diverged})
	}
	clocks, err := ask(ctx, r, func() map[ordering.Origin]uint64 {
		g := r.core.Graph()
		s.TailHash = g.Sync().Hash().String()
		all := make(map[ordering.Origin]uint64)
		for o := range g.Have() {
			all[o] = g.ClockOf(o)
		}
		// A member's clock is the highest ts it holds, which it may not have written.
		for _, p := range v.order.Replicas {
			all[p.Origin] = max(all[p.Origin], p.Clock)
		}
		all[r.self] = g.Clock()
		s.Turns = slices.Clone(r.turns)
		return all
	})
	if err != nil {
		return s, err
	}
	for o, ts := range clocks {
		name := v.names[o.Device]
		s.Clocks[name] = max(s.Clocks[name], ts)
	}
	s.Links = n.links(v)
	return s, nil
}
