// Package ui is the window: it shows snapshots of a node and turns what a
// person does into calls of it. It knows nothing of networks, disks or orders.
//
// One goroutine, in loop.go, waits for changes, reads what the window needs and
// hands over an immutable state; the widgets live on the toolkit's goroutine
// alone and hold no locks. Widgets report through On… callbacks and decide
// nothing: what is to be done stands in this file.
package ui

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/layout"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"tertulia/chat"
)

// Window is the one window of the program.
type Window struct {
	app  fyne.App
	win  fyne.Window
	loop *loop

	config   Config
	settings Settings
	kept     atomic.Pointer[State] // as it was handed over last
	front    bool                  // the window has the focus
	hidden   bool                  // it is in the tray

	onboarding *onboarding
	rooms      *roomList
	header     *header
	list       *messageList
	composer   *composer
	newest     *widget.Button
	corner     *fyne.Container // of newest
	hint       *widget.RichText
	notice     *notice
	waiting    *strip
	finder     *picker
	reply      *replyBar
	network    *networkPage
	left       *counter
	main       *fyne.Container
	chat       *fyne.Container
	panes      *panes
	back       *button

	shown   state
	drafts  map[string]draft   // by room, what was being written when another was opened
	places  map[string]place   // by room, where it was left
	wrote   map[string]writers // by room
	query   chat.SearchQuery   // the last asked
	onFound func([]chat.Message)
	nearby  func()         // stops the look for rooms nearby while the first one is chosen; nil when there is none
	invited string         // an invite from outside that waits for the window to be ready
	hits    []chat.Message // that the finder shows

	revealed func() // to be called when another page of the window is shown
}

// draft is what is being written in a room.
type draft struct {
	text  string
	reply quote
}

// New makes the window; it shows nothing of the node before Run. It is to be
// called, like every method but Run, on the toolkit's goroutine.
func New(app fyne.App, node Node, config Config) (*Window, error) {
	if config.Settings == (Settings{}) {
		config.Settings = DefaultSettings()
	}
	if err := speak(config.Settings.Language); err != nil {
		return nil, err
	}
	w := &Window{app: app, loop: newLoop(node), config: config, settings: config.Settings, front: true}
	setTextSize(w.settings.TextSize)
	app.Settings().SetTheme(newTheme(w.settings.Look, w.settings.Accent))
	app.SetIcon(appIcon())
	w.win = app.NewWindow(tr(textAppName))
	w.win.SetPadded(false)
	w.win.SetMaster()
	w.win.SetCloseIntercept(w.close)
	w.restore(config.State)
	w.build()
	w.addShortcuts()
	w.loop.alert.Store(&w.settings.Alert)
	w.loop.attention.notify = config.Notify
	w.loop.show, w.loop.failed, w.loop.unsent, w.loop.found = w.show, w.failed, w.unsent, w.found
	w.loop.seenNetwork = w.seen
	app.Lifecycle().SetOnEnteredForeground(func() { w.setFront(true) })
	app.Lifecycle().SetOnExitedForeground(func() { w.setFront(false) })
	if config.Trouble != nil {
		w.notice.fail(config.Trouble)
	}
	return w, nil
}

// build makes all widgets, in the language and the size of text that are set.
func (w *Window) build() {
	w.notice = newNotice()
	w.buildChat()
	w.buildMain()
	w.buildOnboarding()
	root := &whole{tip: newTip(), OnSize: func() { w.keep() }}
	content := container.New(root, container.NewStack(w.main, w.onboarding.root), w.notice.root, root.tip.root)
	w.revealed = func() { relayout(content) }
	w.notice.OnSize = w.revealed
	w.main.Hide()
	w.onboarding.root.Hide()
	w.win.SetContent(content)
	w.win.SetTitle(tr(textAppName))
	w.buildTray()
}

// rebuild makes all widgets again and shows what was shown. No sheet is open.
func (w *Window) rebuild() {
	w.closeNetwork()
	was := w.shown
	w.leave(was.room)
	at := w.places[was.room]
	w.build()
	w.shown = state{jumps: was.jumps}
	if was.view.NodeID == "" {
		return // nothing was shown yet
	}
	w.show(&was)
	if at != (place{}) {
		w.list.goTo(aim{kind: aimPlace, key: at.id, bottom: at.bottom})
	}
	w.loop.ask(want{kind: wantLook}) // for rows in the language that is set now
}

// Show opens the window.
func (w *Window) Show() { w.win.Show() }

// Run brings the window up to date until ctx ends, then waits for calls of the
// node under way and returns nil. A message that the node does not take any
// more is kept as a draft.
func (w *Window) Run(ctx context.Context) error {
	if unsent := w.loop.run(ctx); len(unsent) > 0 && w.config.KeepState != nil {
		w.config.KeepState(withUnsent(w.kept.Load(), unsent))
	}
	return nil
}

func (w *Window) buildChat() {
	w.header = newHeader()
	w.header.OnInvite, w.header.OnMenu = w.forOpen(w.showInvite), w.openMenu
	w.header.OnSearch, w.header.OnAbout, w.header.OnNetwork = w.openFinder, w.forOpen(w.showRoom), w.openNetwork
	w.list = newMessageList()
	w.list.OnOlder = func() { w.loop.ask(want{kind: wantOlder}) }
	w.list.OnNewer = func() { w.loop.ask(want{kind: wantNewer}) }
	w.list.OnStuck = w.stuck
	w.list.OnView = func(keys []string) {
		w.loop.inView.Store(&keys)
		w.keep()
	}
	w.list.OnMenu, w.list.OnQuote = w.messageMenu, w.goTo
	w.list.OnLink, w.list.OnDay = w.openLink, w.askDay
	w.list.OnHome = func() { w.goToPage(chat.PageQuery{After: chat.BeforeAll}) }
	w.list.OnEnd = func() { w.loop.ask(want{kind: wantNewest}) }
	w.list.OnSeek = func(n uint64) { w.goToPage(chat.PageQuery{After: finalPosition(n)}) }
	w.list.OnEscape = w.escape
	w.list.OnFocus = func() { w.win.Canvas().Focus(w.list) }
	w.composer = newComposer()
	w.composer.OnSend = w.send
	w.composer.OnTooLong = func() {
		w.notice.say(tr(textTooLong), tr(textTooLongHint, args{"Size": textOfSize(maxComposerBytes)}))
	}
	w.left = newCounter()
	w.composer.OnLeft = func(bytes int) {
		if w.left.set(bytes) {
			relayout(w.chat)
		}
	}
	w.composer.OnTyped = func() { w.loop.typed(w.shown.room) }
	w.composer.OnPage = w.list.TypedKey
	w.composer.OnEscape, w.composer.OnShortcut = w.escape, w.shortcut
	changed := w.composer.OnChanged
	w.composer.OnChanged = func(text string) {
		changed(text)
		w.keep()
	}
	send := newIconButton(tr(textSend), theme.MailSendIcon(), w.composer.send)
	send.Importance = widget.HighImportance
	w.newest = widget.NewButtonWithIcon(tr(textNewMessages), theme.MoveDownIcon(), w.toNewest)
	w.newest.Hide()
	w.hint = paragraph("", theme.SizeNameText, colorMuted, false)
	w.hint.Wrapping = fyne.TextWrapOff

	w.reply = newReplyBar()
	w.reply.OnCancel = func() { w.answer(quote{}) }
	w.waiting = newStrip()
	w.buildFinder()
	write := container.NewBorder(nil, nil, nil, container.NewVBox(layout.NewSpacer(), send), w.composer)
	bottom := container.NewStack(newGround(theme.ColorNameHeaderBackground, 0),
		container.NewBorder(widget.NewSeparator(), nil, nil, nil, padded(9, 9, padEdge, padEdge, column(6, w.reply.root, write, w.left.root))))
	w.corner = container.NewVBox(layout.NewSpacer(), container.NewHBox(layout.NewSpacer(), padded(0, 10, 0, 22, w.newest)))
	clip := container.NewClip(w.list)
	clip.ExtendBaseWidget(clip) // or it forgets a size it is given before it is asked for one
	messages := container.NewStack(clip, container.NewCenter(w.hint), w.corner)
	w.back = newIconButton(tr(textBack), theme.NavigateBackIcon(), w.showRooms)
	w.back.Hide()
	head := container.NewStack(newGround(theme.ColorNameHeaderBackground, 0),
		container.NewBorder(nil, nil, padded(0, 0, 6, -6, container.NewCenter(w.back)), nil, w.header.root))
	top := column(0, head, w.waiting.root, w.finder.root)
	w.chat = container.New(frame{}, top, messages, bottom)
	w.composer.OnGrow = func() { relayout(w.chat) }
}

func (w *Window) buildMain() {
	w.rooms = newRoomList()
	w.rooms.OnOpen = w.openRoom
	w.rooms.OnNew, w.rooms.OnJoin = w.askNewRoom, func() { w.askJoin("") }
	w.rooms.OnMenu, w.rooms.OnSettings = w.roomMenu, w.showSettings
	w.network = newNetworkPage()
	w.network.OnClose, w.network.OnShortcut = w.closeNetwork, w.shortcut
	w.network.Hide()
	was := w.panes
	room := container.NewStack(w.chat, w.network)
	w.panes = &panes{side: w.rooms.root, room: room, back: w.back, OnChange: w.paned}
	w.panes.rooms = was != nil && was.rooms
	w.main = container.NewStack(newGround(theme.ColorNameBackground, 0), container.New(w.panes, w.rooms.root, room))
}

// show brings every widget up to the snapshot s.
func (w *Window) show(s *state) {
	before := w.shown
	w.shown = *s
	if s.view.Username == "" || len(s.view.Rooms) == 0 {
		w.main.Hide()
		w.onboarding.set(s.view)
		w.welcome(s.view.Username != "")
		w.revealed()
		return
	}
	entered := s.room != before.room || w.onboarding.root.Visible()
	w.onboarding.root.Hide()
	w.main.Show()
	w.revealed()
	w.rooms.set(s.view, w.picked())
	room, ok := s.openRoom()
	if !ok {
		return
	}
	w.header.set(room)
	w.writers(s.room).learn(s.messages, !s.newer)
	if w.waiting.set(waitingText(&room, s.view.Peers, w.writers(room.ID))) {
		relayout(w.chat)
	}
	if s.room != before.room {
		w.places[before.room] = w.list.position()
		w.list.clear(s.jumps == before.jumps || s.aim.kind == aimEnd)
		w.swapDraft(before.room, s.room)
		w.closeFinder()
	}
	if s.room != before.room || s.jumps != before.jumps {
		w.closeNetwork()
	}
	switch {
	case s.jumps != before.jumps:
		w.list.stuck = s.aim.kind == aimEnd
	case s.room != before.room:
	case s.newer && w.list.stuck:
		// The person went to the end while an older page was on its way.
		w.loop.ask(want{kind: wantNewest})
		return
	}
	w.list.before, w.list.all = s.before, room.Total
	w.list.setRows(s.rows, s.older, s.newer)
	if s.jumps != before.jumps {
		w.list.goTo(s.aim)
	}
	w.tellNew(room.Unread)
	w.stuck(w.list.stuck)
	w.showHint(&room)
	w.allowWriting(room.State == chat.Joined || room.State == chat.Joining)
	if entered {
		w.win.Canvas().Focus(w.composer)
		w.welcome(false)
	}
	w.keep()
}

// swapDraft keeps what is being written with the room it is meant for.
func (w *Window) swapDraft(from, to string) {
	w.drafts[from] = draft{w.composer.Text, w.reply.to}
	w.composer.fill(w.drafts[to].text)
	w.answer(w.drafts[to].reply)
	delete(w.drafts, to)
	w.findReply()
}

// findReply reads what a draft kept over a restart answers.
func (w *Window) findReply() {
	room, id := w.shown.room, w.reply.to.id
	if id == "" || w.reply.to.name != "" {
		return
	}
	var page chat.Page
	w.loop.act(func(ctx context.Context) (err error) {
		page, err = w.loop.node.Page(ctx, chat.PageQuery{Room: room, Around: id, Limit: 1})
		return err
	}, func(err error) {
		if err == nil && len(page.Messages) == 1 && w.reply.to.id == id {
			w.answer(quoteOf(id, &page.Messages[0]))
		}
	})
}

func (w *Window) showHint(r *chat.Room) {
	text := ""
	if len(w.shown.rows) == 0 {
		text = tr(textNoMessages)
		if r.Members <= 1 {
			text = tr(textAlone)
		}
		if r.State != chat.Joined {
			text = roomState(r)
		}
	}
	segment := w.hint.Segments[0].(*widget.TextSegment)
	if segment.Text != text {
		segment.Text = text
		w.hint.Refresh()
	}
}

func (w *Window) allowWriting(may bool) {
	if may == !w.composer.Disabled() {
		return
	}
	if !may {
		w.composer.Disable()
		return
	}
	w.composer.Enable()
	w.win.Canvas().Focus(w.composer)
}

// stuck is told whether the list follows the end.
func (w *Window) stuck(stuck bool) {
	if w.loop.following.Swap(stuck) != stuck && stuck {
		w.loop.ask(want{kind: wantLook})
	}
	if stuck == !w.newest.Visible() {
		return
	}
	if stuck {
		w.newest.Hide()
	} else {
		w.newest.Show()
	}
	w.corner.Refresh()
}

// tellNew says on the way to the newest how many of them are new.
func (w *Window) tellNew(n int) {
	text := tr(textNewMessages)
	if n > 0 {
		text = textOfNew(n)
	}
	if w.newest.Text != text {
		w.newest.SetText(text)
		w.corner.Refresh()
	}
}

func (w *Window) toNewest() {
	w.win.Canvas().Focus(w.composer)
	if w.shown.newer {
		w.loop.ask(want{kind: wantNewest})
		return
	}
	w.list.follow()
}

func (w *Window) openRoom(room string) {
	w.showRoomPane()
	if room == w.shown.room {
		return
	}
	w.notice.hide()
	w.loop.ask(want{kind: wantRoom, room: room, at: w.places[room]})
}

func (w *Window) send(text string) {
	d := chat.Draft{Room: w.shown.room, Username: w.shown.view.Username, Text: text, ReplyTo: w.reply.to.id}
	w.answer(quote{})
	if !w.loop.say(d) {
		w.unsent(d, busy())
		return
	}
	w.loop.ask(want{kind: wantAnswer})
	w.toNewest()
}

// answer makes what is being written an answer to a message, or to none.
func (w *Window) answer(to quote) {
	if w.reply.set(to) {
		relayout(w.chat)
	}
	w.keep()
}

// goTo shows a message of the open room where it stands.
func (w *Window) goTo(id string) {
	w.loop.ask(want{kind: wantMessage, room: w.shown.room, id: id})
}

// goToPage shows the first message of a page of the open room.
func (w *Window) goToPage(q chat.PageQuery) {
	w.loop.ask(want{kind: wantPage, page: q})
}

// finalPosition is that of the n-th final message of a room, 1 first.
func finalPosition(n uint64) string { return fmt.Sprintf("%s%016x", chat.BeforeAll, n) }

// openLink opens an address in the browser; an invite asks whether to join.
func (w *Window) openLink(link string) {
	if isInvite(link) {
		w.askJoin(link)
		return
	}
	to, err := url.Parse(link)
	if err == nil {
		err = w.app.OpenURL(to)
	}
	if err != nil {
		w.notice.say(tr(textLinkFailed), link)
	}
}

// unsent gives a message that could not be sent back to its author.
func (w *Window) unsent(d chat.Draft, err error) {
	w.notice.fail(err)
	if d.Room != w.shown.room {
		kept := w.drafts[d.Room]
		kept.text = strings.TrimSpace(d.Text + "\n" + kept.text)
		if kept.reply.id == "" {
			kept.reply = quoteOf(d.ReplyTo, nil)
		}
		w.drafts[d.Room] = kept
		w.keep()
		return
	}
	if w.composer.Text != "" {
		d.Text += "\n" + w.composer.Text
	}
	w.composer.fill(d.Text)
	if w.reply.to.id == "" {
		w.answer(quoteOf(d.ReplyTo, w.message(d.ReplyTo)))
	}
}

func (w *Window) failed(err error) {
	if err != nil {
		w.notice.fail(err)
	}
}

func (w *Window) joinRoom(invite string, done func(error)) {
	w.enter(func(ctx context.Context) (chat.Room, error) { return w.loop.node.JoinRoom(ctx, invite) }, done)
}

// enter opens the room that call returns.
func (w *Window) enter(call func(context.Context) (chat.Room, error), done func(error)) {
	var room chat.Room
	w.loop.act(func(ctx context.Context) (err error) {
		room, err = call(ctx)
		return err
	}, func(err error) {
		done(err)
		if err == nil {
			w.showRoomPane()
			w.loop.ask(want{kind: wantRoom, room: room.ID})
		}
	})
}

// forOpen makes show one of the open room, if there is one.
func (w *Window) forOpen(show func(chat.Room)) func() {
	return func() {
		if room, ok := w.shown.openRoom(); ok {
			show(room)
		}
	}
}

func (w *Window) messageMenu(id, link string, at fyne.Position) {
	m := w.message(id)
	if m == nil {
		return
	}
	var items []*fyne.MenuItem
	if link != "" {
		items = append(items, fyne.NewMenuItem(tr(textCopyLink), func() { w.app.Clipboard().SetContent(link) }))
	}
	if m.Kind == chat.KindText && !m.Unreadable {
		items = append(items,
			fyne.NewMenuItem(tr(textReply), func() { w.startReply(m) }),
			fyne.NewMenuItem(tr(textCopy), func() { w.app.Clipboard().SetContent(m.Text) }),
			fyne.NewMenuItem(tr(textSelect), func() { w.showText(m) }),
			fyne.NewMenuItemSeparator())
	}
	popMenu(w.win.Canvas(), at, append(items, fyne.NewMenuItem(tr(textWhy), func() { w.showWhy(m) }))...)
}

func (w *Window) startReply(m *chat.Message) {
	w.answer(quoteOf(m.ID, m))
	w.win.Canvas().Focus(w.composer)
}

// writers tells who writes in a room, as far as its messages were shown.
func (w *Window) writers(room string) writers {
	if w.wrote[room] == nil {
		w.wrote[room] = writers{}
	}
	return w.wrote[room]
}

func (w *Window) message(id string) *chat.Message {
	for i := range w.shown.messages {
		if w.shown.messages[i].ID == id {
			return &w.shown.messages[i]
		}
	}
	return nil
}
