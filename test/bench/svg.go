package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"
	"slices"
	"strings"
)

// The places of the drawing, in pixels: the labels end where the bars may begin, and the figures
// stand behind the bars, aligned right.
const (
	drawingWidth = 880
	barsBegin    = 210
	barsEnd      = 680
	ratiosEnd    = 745
	processorEnd = 845
	barHeight    = 9
	barStep      = 12
	headHeight   = 118
	groupHeight  = 26
	rowSpace     = 7
	footHeight   = 52
)

// faster says of a unit whether a higher figure is the faster one; what has another unit is no
// speed, and is not drawn.
var faster = map[string]bool{"msg/s": true, "/s": true, "Mbit/s": true, "ns": false, "us": false, "ms": false}

// kindTitles head the groups; another kind of row is headed by its name.
var kindTitles = map[string]string{
	roundTrip: "round trips: a binary there and back",
	out:       "out: messages from the peer to Erlang",
	in:        "in: messages from Erlang to the peer",
	connect:   "connections set up",
}

// A bar is a ratio of speeds: how many times as fast ours is as the peer.
type bar struct {
	series    int
	speed     float64
	processor *float64 // ours by the peer's
}

// A group of rows is of one kind; a barred row is one of the report with its bars.
type (
	group struct {
		title string
		rows  []barred
	}
	barred struct {
		title string
		bars  []bar
	}
)

var seriesColours = []string{"#0969da", "#bc4c00", "#8250df", "#1a7f37", "#6e7781"}

// chart finds what is drawn: the rows that are speeds, by kind, and the peers that ours is compared
// with in any of them.
func (r report) chart() (groups []group, peers []string) {
	all, _ := r.quotients()
	all = slices.DeleteFunc(all, func(q quotient) bool { return !strings.HasPrefix(q.head, nameOurs+"/") })
	for i := range r.Rows {
		o := &r.Rows[i]
		higher, ok := faster[o.Unit]
		if !ok || strings.HasSuffix(o.Name, "cpu") {
			continue
		}
		cpu := slices.IndexFunc(r.Rows, func(c outcome) bool { return c.Name == o.Name+"/cpu" })
		var bars []bar
		for _, q := range all {
			value := q.of(o)
			if value == nil || *value <= 0 {
				continue
			}
			peer := strings.TrimPrefix(q.head, nameOurs+"/")
			if !slices.Contains(peers, peer) {
				peers = append(peers, peer)
			}
			b := bar{series: slices.Index(peers, peer), speed: *value}
			if !higher {
				b.speed = 1 / *value
			}
			if cpu >= 0 {
				b.processor = q.of(&r.Rows[cpu])
			}
			bars = append(bars, b)
		}
		if len(bars) == 0 {
			continue
		}
		kind, _, _ := strings.Cut(o.Name, "/")
		title := kind
		if known, ok := kindTitles[kind]; ok {
			title = known
		}
		at := slices.IndexFunc(groups, func(g group) bool { return g.title == title })
		if at < 0 {
			at = len(groups)
			groups = append(groups, group{title: title})
		}
		groups[at].rows = append(groups[at].rows, barred{o.Title, bars})
	}
	return groups, peers
}

// svg draws the report: bars on a logarithmic scale, to the right of a line at 1 where ours is the
// faster one. The background is its own, so that it can be read on any page.
func (r report) svg() []byte {
	groups, peers := r.chart()
	height, low, high := headHeight+footHeight, -1.0, 1.0
	for _, g := range groups {
		height += groupHeight
		for _, row := range g.rows {
			height += len(row.bars)*barStep + rowSpace
			for _, b := range row.bars {
				low, high = min(low, math.Floor(math.Log2(b.speed))), max(high, math.Ceil(math.Log2(b.speed)))
			}
		}
	}
	at := func(speed float64) float64 {
		return barsBegin + (math.Log2(speed)-low)/(high-low)*(barsEnd-barsBegin)
	}

	var b bytes.Buffer
	text := func(x float64, y int, more, s string) {
		fmt.Fprintf(&b, `<text x="%.1f" y="%d"%s>`, x, y, more)
		_ = xml.EscapeText(&b, []byte(s)) // a buffer takes everything
		b.WriteString("</text>\n")
	}
	const right, middle, bold, faint = ` text-anchor="end"`, ` text-anchor="middle"`, ` font-weight="bold"`, ` fill="#59636e"`
	title := "cnode beside " + strings.Join(peers, " and ") + ": how many times as fast"
	if len(peers) == 0 {
		title = "cnode, compared with nobody"
	}
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" role="img" `+
		`font-family="system-ui, sans-serif" font-size="12" fill="#1f2328">`+"\n<title>", drawingWidth, height)
	_ = xml.EscapeText(&b, []byte(title))
	fmt.Fprintf(&b, "</title>\n"+`<rect width="%d" height="%d" rx="6" fill="#ffffff" stroke="#d1d9e0"/>`+"\n", drawingWidth, height)
	text(20, 30, ` font-size="17"`+bold, title)
	carrier := "TCP"
	if r.TLS {
		carrier = "TLS"
	}
	text(20, 49, faint, fmt.Sprintf("%s; %s; OTP %d; %s; medians of %s; load %s",
		r.Date, r.Go, r.OTP, carrier, plural(r.Rounds, "round"), r.Load))
	text(20, 65, faint, r.Machine)
	for i, peer := range peers {
		x := float64(20 + 120*i)
		fmt.Fprintf(&b, `<rect x="%.1f" y="78" width="12" height="12" fill="%s"/>`+"\n", x, seriesColours[i%len(seriesColours)])
		text(x+18, 88, "", nameOurs+" by "+peer)
	}

	axis := headHeight - 10
	text(ratiosEnd, axis, right+faint, "speed")
	text(processorEnd, axis, right+faint, "processor time")
	for tick := low; tick <= high; tick++ {
		colour, x, label := "#eaeef2", at(math.Exp2(tick)), fmt.Sprintf("%g", math.Exp2(tick))
		if tick == 0 {
			colour = "#1f2328"
		} else if tick < 0 {
			label = fmt.Sprintf("1/%g", math.Exp2(-tick))
		}
		fmt.Fprintf(&b, `<line x1="%.1f" x2="%.1[1]f" y1="%d" y2="%d" stroke="%s"/>`+"\n", x, axis+6, height-footHeight+6, colour)
		text(x, axis, middle+faint, label)
	}
	y := headHeight
	for _, g := range groups {
		text(20, y+17, bold, g.title)
		y += groupHeight
		for _, row := range g.rows {
			text(barsBegin-12, y+(len(row.bars)*barStep)/2+3, right, row.title)
			for _, one := range row.bars {
				from, to := at(min(1, one.speed)), at(max(1, one.speed))
				fmt.Fprintf(&b, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n",
					from, y, to-from, barHeight, seriesColours[one.series%len(seriesColours)])
				text(ratiosEnd, y+barHeight, right+` font-size="11"`, fmt.Sprintf("%.2f", one.speed))
				text(processorEnd, y+barHeight, right+` font-size="11"`, ratio(one.processor))
				y += barStep
			}
			y += rowSpace
		}
	}
	text(20, height-30, faint, "Bars to the right of 1: ours is the faster one. Each step of the scale is twice as fast.")
	text(20, height-14, faint, "Processor time: ours by the peer's, for each message or connection; below 1 ours takes less.")
	b.WriteString("</svg>\n")
	return b.Bytes()
}
