package ui

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"fyne.io/fyne/v2"

	"tertulia/chat"
)

// Limits of the window's queues.
const (
	maxWants   = 64 // what the widgets asked of the loop
	maxDrafts  = 64 // messages on their way to the node
	maxActions = 16 // calls to the node under way
)

// lastWait is how long messages may take to the node when the window is closed.
const lastWait = 2 * time.Second

// Node is what the window needs of a node, in this process or another.
type Node interface {
	// View returns an immutable snapshot.
	View(ctx context.Context) (chat.View, error)
	// Changes returns a one-slot channel that says "something changed"; it is
	// closed when ctx ends.
	Changes(ctx context.Context) <-chan struct{}
	Page(ctx context.Context, q chat.PageQuery) (chat.Page, error)
	Send(ctx context.Context, d chat.Draft) (chat.Sent, error)
	SetUsername(ctx context.Context, name string) error
	CreateRoom(ctx context.Context, name string, order chat.Order) (chat.Room, error)
	JoinRoom(ctx context.Context, invite string) (chat.Room, error)
	Invite(ctx context.Context, o chat.InviteOptions) (string, error)
	Members(ctx context.Context, room string) ([]chat.Member, error)
	LeaveRoom(ctx context.Context, room string) error
	// RemoveMember ends a membership for good. Only the room's creator can.
	RemoveMember(ctx context.Context, room, member string) error
	// MarkRead notes that a room was read up to a position; it never goes back.
	MarkRead(ctx context.Context, room, position string) error
	// Search returns the newest messages that match, newest first.
	Search(ctx context.Context, q chat.SearchQuery) ([]chat.Message, error)
	// Info tells all that is known of one message.
	Info(ctx context.Context, room, id string) (chat.Info, error)
	Status(ctx context.Context) (chat.Status, error)
	SwitchOrder(ctx context.Context, room string, order chat.Order) error
	RenameRoom(ctx context.Context, room, name string) error
	SetRoomSettings(ctx context.Context, room string, s chat.RoomSettings) error
	// Typing says that the person is writing in a room just now. It may be called
	// with every key: the node tells others once in a while.
	Typing(ctx context.Context, room string) error
	// Nearby returns the rooms that nodes on the same network offer.
	Nearby(ctx context.Context) ([]chat.Nearby, error)
}

// state is a snapshot the loop hands to the widgets; nobody changes it later.
type state struct {
	view         chat.View
	room         string // id of the open room, "" = none
	rows         []row
	messages     []chat.Message
	older, newer bool
	jumps        int // when it differs from that of the state before, go to aim
	aim          aim
	before       uint64 // messages of the room before those held
}

// openRoom is the open room as the view has it.
func (s *state) openRoom() (chat.Room, bool) {
	for i := range s.view.Rooms {
		if s.view.Rooms[i].ID == s.room {
			return s.view.Rooms[i], true
		}
	}
	return chat.Room{}, false
}

func hasRoom(rooms []chat.Room, id string) bool {
	return slices.ContainsFunc(rooms, func(r chat.Room) bool { return r.ID == id })
}

// want is something the widgets ask of the loop.
type want struct {
	kind wantKind
	room string // wantRoom, wantMessage
	id   string // wantMessage
	at   place  // wantRoom: where the room was left
	page chat.PageQuery
}

type wantKind int

const (
	wantRoom wantKind = iota
	wantOlder
	wantNewer
	wantNewest
	wantLook    // the person looks at the room again
	wantMessage // go to a message
	wantAnswer  // the person said something: what is above has been read
	wantPage    // go to the first message of a page
)

// loop carries snapshots from the node to the widgets and calls the other way.
// run's goroutine owns everything above wants.
type loop struct {
	node Node
	feed feed
	view chat.View
	read reading

	jumps     int
	aim       aim
	newest    int // of the feed, when it was last looked at
	attention attention
	begin     want // what to open first; the zero value is any room at its end

	wants     chan want
	drafts    chan chat.Draft
	actions   chan func(context.Context)
	following atomic.Bool              // the list is at its end and follows
	seen      atomic.Bool              // the window has the focus, and the room is in it
	alert     atomic.Pointer[Alert]    // of which messages to tell
	inView    atomic.Pointer[[]string] // IDs of the messages in view, topmost first
	queries   chan chat.SearchQuery    // the one to be answered next
	watch     *watch
	typing    chan string // room in which the person writes

	latest  atomic.Pointer[state]
	pending atomic.Bool // a post is under way
	post    func(func())
	now     func() time.Time

	nearbyEvery time.Duration

	show        func(*state)
	failed      func(error)
	unsent      func(chat.Draft, error)
	found       func(chat.SearchQuery, []chat.Message, error)
	seenNetwork func(*glance, error)
}

func newLoop(node Node) *loop {
	l := &loop{
		node:    node,
		feed:    feed{node: node},
		wants:   make(chan want, maxWants),
		drafts:  make(chan chat.Draft, maxDrafts),
		actions: make(chan func(context.Context), maxActions),
		queries: make(chan chat.SearchQuery, 1),
		watch:   newWatch(),
		typing:  make(chan string, 1),
		post:    fyne.Do,
		now:     time.Now,

		nearbyEvery: nearbyEvery,
		attention:   attention{rooms: map[string]*news{}},
	}
	l.following.Store(true)
	l.seen.Store(true)
	l.inView.Store(new([]string))
	all := AlertAll
	l.alert.Store(&all)
	return l
}

// run serves until ctx ends, then waits for the calls under way. It returns
// the messages that the node did not take any more.
func (l *loop) run(ctx context.Context) []chat.Draft {
	var (
		group  sync.WaitGroup
		unsent []chat.Draft
	)
	group.Go(func() { unsent = l.sendDrafts(ctx) })
	l.serveWants(ctx, &group)
	group.Wait()
	return unsent
}

// serveWants serves until ctx ends; calls of the node run in group.
func (l *loop) serveWants(ctx context.Context, group *sync.WaitGroup) {
	group.Go(func() { l.answerQueries(ctx) })
	group.Go(func() { l.watchNetwork(ctx) })
	group.Go(func() { l.tellTyping(ctx) })
	slots := make(chan struct{}, maxActions)
	changes := l.node.Changes(ctx)
	l.report(ctx, l.refresh(ctx))
	for {
		var (
			err  error
			news <-chan time.Time
		)
		if next := l.nextNews(); !next.IsZero() {
			news = time.After(next.Sub(l.now()))
		}
		select {
		case <-ctx.Done():
			return
		case <-news:
			l.attend(ctx)
		case _, ok := <-changes:
			if !ok {
				<-ctx.Done()
				return
			}
			err = l.refresh(ctx)
		case w := <-l.wants:
			err = l.serve(ctx, w)
		case act := <-l.actions:
			select {
			case slots <- struct{}{}:
				group.Go(func() {
					act(ctx)
					<-slots
				})
			default:
				err = busy()
			}
		}
		l.report(ctx, err)
	}
}

// sendDrafts hands messages to the node one after the other, in the order they
// were written, those that wait when ctx ends included. It returns what the
// node did not take then.
func (l *loop) sendDrafts(ctx context.Context) []chat.Draft {
	last, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(lastWait, cancel) })()
	var unsent []chat.Draft
	send := func(d chat.Draft) {
		_, err := l.node.Send(last, d)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			unsent = append(unsent, d)
		default:
			l.post(func() { l.unsent(d, err) })
		}
	}
	for {
		select {
		case d := <-l.drafts:
			send(d)
		case <-ctx.Done():
			for len(l.drafts) > 0 {
				send(<-l.drafts)
			}
			return unsent
		}
	}
}

// answerQueries searches, one query after the other.
func (l *loop) answerQueries(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case q := <-l.queries:
			hits, err := l.node.Search(ctx, q)
			if ctx.Err() == nil {
				l.post(func() { l.found(q, hits, err) })
			}
		}
	}
}

// tellTyping tells the node that the person writes.
func (l *loop) tellTyping(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case room := <-l.typing:
			if err := l.node.Typing(ctx, room); err != nil && ctx.Err() == nil {
				slog.Debug("typing not told", "room", room, "error", err)
			}
		}
	}
}

func (l *loop) refresh(ctx context.Context) error {
	v, err := l.node.View(ctx)
	if err != nil {
		return err
	}
	l.view = v
	err = l.choose(ctx)
	if err == nil {
		err = l.feed.reload(ctx, l.following.Load(), *l.inView.Load())
		l.goToEnd()
	}
	l.hand(ctx)
	l.watch.poke()
	l.attend(ctx)
	return err
}

// choose opens a room when none is open, or the open one is gone: the one that
// is to be opened first, or the first of all.
func (l *loop) choose(ctx context.Context) error {
	if hasRoom(l.view.Rooms, l.feed.room) {
		return nil
	}
	if begin := l.begin; hasRoom(l.view.Rooms, begin.room) {
		l.begin = want{}
		return l.enter(ctx, begin.room, begin.at)
	}
	next := ""
	if len(l.view.Rooms) > 0 {
		next = l.view.Rooms[0].ID
	}
	if next == l.feed.room {
		return nil
	}
	return l.enter(ctx, next, place{})
}

// room is the room id as the last view has it.
func (l *loop) room(id string) chat.Room {
	for i := range l.view.Rooms {
		if l.view.Rooms[i].ID == id {
			return l.view.Rooms[i]
		}
	}
	return chat.Room{}
}

// enter opens a room at its first unread message, else where it was left.
func (l *loop) enter(ctx context.Context, room string, left place) error {
	unread := l.room(room).FirstUnread
	to := aim{kind: aimPlace, key: left.id, bottom: left.bottom}
	if unread != "" {
		to = aim{kind: aimUnread, key: unread}
	}
	id, err := l.feed.open(ctx, room, to.key)
	l.read.open(l.feed.messages, unread)
	l.following.Store(id == "")
	l.goToEnd()
	if id != "" {
		to.key = id
		l.goTo(to)
	}
	return err
}

func (l *loop) goTo(to aim) {
	l.following.Store(false)
	l.jumps++
	l.aim = to
}

// goToEnd goes to the end when the newest page was loaded.
func (l *loop) goToEnd() {
	if l.newest != l.feed.newest {
		l.newest = l.feed.newest
		l.jumps++
		l.aim = aim{kind: aimEnd}
	}
}

// top is the message at the top of the view, "" when none is in it.
func (l *loop) top() string {
	if ids := *l.inView.Load(); len(ids) > 0 {
		return ids[0]
	}
	return ""
}

func (l *loop) serve(ctx context.Context, w want) error {
	var err error
	switch w.kind {
	case wantRoom:
		err = l.serveRoom(ctx, w.room, w.at)
	case wantOlder:
		err = l.feed.loadOlder(ctx, l.top())
	case wantNewer:
		err = l.feed.loadNewer(ctx, l.top())
	case wantNewest:
		err = l.feed.loadNewest(ctx)
		l.goToEnd()
	case wantMessage:
		err = l.serveMessage(ctx, w.room, w.id)
	case wantAnswer:
		l.read.answer(l.feed.messages)
	case wantPage:
		var id string
		id, err = l.feed.loadPage(ctx, w.page)
		l.goToEnd()
		if id != "" {
			l.goTo(aim{kind: aimTop, key: id})
		}
	case wantLook:
		l.attend(ctx)
	}
	l.hand(ctx)
	return err
}

// serveRoom opens a room, which may be younger than the last view; "" is any.
func (l *loop) serveRoom(ctx context.Context, room string, left place) error {
	v, err := l.node.View(ctx)
	if err != nil {
		return err
	}
	l.view = v
	if room == "" || room == l.feed.room {
		return l.choose(ctx)
	}
	return l.enter(ctx, room, left)
}

// serveMessage goes to a message, in another room where it must.
func (l *loop) serveMessage(ctx context.Context, room, id string) error {
	if room != l.feed.room {
		if err := l.serveRoom(ctx, room, place{}); err != nil {
			return err
		}
	}
	target, err := l.feed.loadAround(ctx, id)
	if err != nil {
		return err
	}
	l.goTo(aim{kind: aimMessage, key: target})
	return nil
}

// hand gives the widgets a snapshot. Snapshots that come faster than the
// window draws replace one another: at most one post is under way.
func (l *loop) hand(ctx context.Context) {
	l.markRead(ctx)
	f := &l.feed
	room := l.room(f.room)
	seen := stretch{
		messages: f.messages, quotes: f.quotes(ctx), unread: l.read.firstUnread(f.messages), room: room, now: l.now(),
	}
	l.latest.Store(&state{
		view: l.view, room: f.room, rows: seen.rows(), messages: f.messages,
		older: f.older, newer: f.newer, jumps: l.jumps, aim: l.aim, before: f.before(&room),
	})
	if l.pending.Swap(true) {
		return
	}
	l.post(func() {
		l.pending.Store(false)
		l.show(l.latest.Load())
	})
}

// markRead tells the node what the person has before the eyes. It is told again
// whenever a line came or moved: the node alone knows which of them it counts.
func (l *loop) markRead(ctx context.Context) {
	f := &l.feed
	if len(f.messages) == 0 {
		return
	}
	if f.newer || !l.following.Load() || !l.seen.Load() {
		l.read.miss(f.messages)
		return
	}
	now := mark{room: f.room, position: f.messages[len(f.messages)-1].Position, arrival: newestArrival(f.messages), final: finals(f.messages)}
	if now == l.read.told {
		return
	}
	if err := l.node.MarkRead(ctx, f.room, now.position); err != nil {
		slog.Warn("room not marked as read", "room", f.room, "error", err)
		return
	}
	l.read.told = now
	l.read.upTo = max(l.read.upTo, now.arrival)
}

func (l *loop) report(ctx context.Context, err error) {
	if err == nil || ctx.Err() != nil {
		return
	}
	slog.Warn("window could not be brought up to date", "error", err)
	l.post(func() { l.failed(err) })
}

// ask is for the widgets; it never blocks. A want that finds the queue full is
// dropped: the list asks again when it next moves.
func (l *loop) ask(w want) {
	select {
	case l.wants <- w:
	default:
	}
}

// act calls the node off the widgets' goroutine. done, where it is not nil,
// runs on theirs.
func (l *loop) act(call func(context.Context) error, done func(error)) {
	a := func(ctx context.Context) {
		err := call(ctx)
		if errors.Is(err, context.Canceled) && ctx.Err() != nil {
			return
		}
		l.post(func() { done(err) })
	}
	select {
	case l.actions <- a:
	default:
		done(busy())
	}
}

// typed lets the node know that the person writes in a room; while it is
// being told, it is not told again.
func (l *loop) typed(room string) {
	select {
	case l.typing <- room:
	default:
	}
}

// search asks for matches; a query that still waits is forgotten. It is for the
// widgets' goroutine.
func (l *loop) search(q chat.SearchQuery) {
	select {
	case <-l.queries:
	default:
	}
	l.queries <- q
}

// say queues a message; false when the queue is full.
func (l *loop) say(d chat.Draft) bool {
	select {
	case l.drafts <- d:
		return true
	default:
		return false
	}
}

func busy() error {
	return chat.Errorf(chat.CodeBusy, "%s", tr(textBusy)).WithHint("%s", tr(textBusyHint))
}
