package ui

import (
	"context"

	"fyne.io/fyne/v2/theme"

	"tertulia/chat"
)

func (w *Window) askNewRoom() {
	orders := []chat.Order{chat.Lamport, chat.Leader}
	name := newEntry(tr(textRoomNameHint))
	order := newChoice(0, orderName(orders[0]), orderName(orders[1]))
	about := paragraph(orderAbout(orders[0]), theme.SizeNameCaptionText, colorMuted, false)
	nearby := newToggle(tr(textOffer), false)
	var s *sheet
	order.OnChange = func(i int) {
		setParagraph(about, orderAbout(orders[i]))
		s.fit()
	}
	submit := func() {
		submitName(name.Text, s.act, func(room string) {
			s.act.Disable()
			w.createRoom(room, orders[order.chosen], nearby.Checked, s.done)
		}, s.fail)
	}
	name.OnSubmitted = func(string) { submit() }
	body := column(6, field(tr(textRoomName), name), field(tr(textOrderLabel), padded(0, 0, 8, 8, order)), about,
		nearby, paragraph(tr(textOfferAbout), theme.SizeNameCaptionText, colorMuted, false))
	s = newSheet(w.win, tr(textNewRoom), tr(textCancel), tr(textStart), body, submit)
	s.first = name
	s.show()
}

// createRoom makes a room and opens it. One that is to be offered nearby and
// cannot be is there all the same: the settings say that it is not offered.
func (w *Window) createRoom(name string, order chat.Order, nearby bool, done func(error)) {
	w.enter(func(ctx context.Context) (chat.Room, error) {
		room, err := w.loop.node.CreateRoom(ctx, name, order)
		if err != nil || !nearby {
			return room, err
		}
		if err := w.loop.node.SetRoomSettings(ctx, room.ID, chat.RoomSettings{Nearby: true}); err != nil {
			w.loop.post(func() { w.failed(err) })
		}
		return room, nil
	}, done)
}
