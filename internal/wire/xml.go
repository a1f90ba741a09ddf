package wire

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
)

// node is one element of an XML text.
type node struct {
	name     string
	attrs    []xml.Attr
	children []*node
	text     []byte
}

// child returns the first child of a name, or nil.
func (n *node) child(name string) *node {
	for _, c := range n.children {
		if c.name == name {
			return c
		}
	}
	return nil
}

func (n *node) childText(name string) string {
	if c := n.child(name); c != nil {
		return string(c.text)
	}
	return ""
}

// attr returns the value of an attribute by its name without prefix.
func (n *node) attr(name string) (string, bool) {
	for _, a := range n.attrs {
		if a.Name.Local == name {
			return a.Value, true
		}
	}
	return "", false
}

// maxNodes bounds the elements of one text: ten thousand parts of a
// multipart upload with all their checksums fit.
const maxNodes = 100_000

var errXML = errors.New("not well-formed XML")

// parseXML reads a whole text. Document types and what hangs on them
// (entities) are refused.
func parseXML(data []byte) (*node, error) {
	d := xml.NewDecoder(bytes.NewReader(data))
	d.CharsetReader = func(charset string, in io.Reader) (io.Reader, error) { return nil, errXML }
	var (
		root  *node
		stack []*node
		count int
	)
	for {
		tok, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		switch t := tok.(type) {
		case xml.StartElement:
			count++
			if count > maxNodes || len(stack) >= maxDepth || root != nil && len(stack) == 0 {
				return nil, errXML
			}
			n := &node{name: t.Name.Local, attrs: withoutNamespaces(t.Attr)}
			if len(stack) == 0 {
				root = n
			} else {
				top := stack[len(stack)-1]
				top.children = append(top.children, n)
			}
			stack = append(stack, n)
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		case xml.CharData:
			if len(stack) > 0 {
				top := stack[len(stack)-1]
				top.text = append(top.text, t...)
			} else if len(bytes.TrimSpace(t)) > 0 {
				return nil, errXML
			}
		case xml.Directive:
			return nil, errXML
		}
	}
	if root == nil {
		return nil, errXML
	}
	return root, nil
}

// withoutNamespaces keeps the attributes that are no namespace declarations.
func withoutNamespaces(all []xml.Attr) []xml.Attr {
	var kept []xml.Attr
	for _, a := range all {
		if a.Name.Space != "xmlns" && a.Name.Local != "xmlns" {
			kept = append(kept, a)
		}
	}
	return kept
}
