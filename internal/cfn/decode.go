package cfn

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// Decode fills the struct that into points to from a resolved Map. A property
// goes into the field of its name (or of the name in the field's cfn tag);
// the tag's option "required" refuses its absence. Scalars are converted as
// AWS converts them: "true" is a boolean, 5 is text. A field of type *Node
// takes any value. Errors are worded as AWS's.
func Decode(n *Node, into any) error {
	return decodeStruct(n, reflect.ValueOf(into).Elem(), "")
}

var nodeType = reflect.TypeFor[*Node]()

func decodeStruct(n *Node, v reflect.Value, path string) error {
	if n == nil || n.Kind != Map {
		return fmt.Errorf("Value of property %s must be an object", path)
	}
	t := v.Type()
	fields := make(map[string]int, t.NumField())
	for i := range t.NumField() {
		name, required := fieldName(t.Field(i))
		if name == "" {
			continue
		}
		fields[name] = i
		if given := n.Get(name); required && (given == nil || given.IsScalar() && given.Text == "") {
			return fmt.Errorf("Property %s cannot be empty.", name)
		}
	}
	for _, f := range n.Fields {
		i, ok := fields[f.Key]
		if !ok {
			return fmt.Errorf("Encountered unsupported property %s", f.Key)
		}
		if err := decode(f.Value, v.Field(i), f.Key); err != nil {
			return err
		}
	}
	return nil
}

func fieldName(f reflect.StructField) (name string, required bool) {
	if !f.IsExported() {
		return "", false
	}
	name, options, _ := strings.Cut(f.Tag.Get("cfn"), ",")
	if name == "" {
		name = f.Name
	}
	if name == "-" {
		return "", false
	}
	return name, options == "required"
}

func decode(n *Node, v reflect.Value, name string) error {
	if v.Type() == nodeType {
		v.Set(reflect.ValueOf(n))
		return nil
	}
	switch v.Kind() {
	case reflect.Pointer:
		p := reflect.New(v.Type().Elem())
		if err := decode(n, p.Elem(), name); err != nil {
			return err
		}
		v.Set(p)
		return nil
	case reflect.Struct:
		return decodeStruct(n, v, name)
	case reflect.Slice:
		return decodeList(n, v, name)
	case reflect.Map:
		return decodeMap(n, v, name)
	}
	return decodeScalar(n, v, name)
}

func decodeList(n *Node, v reflect.Value, name string) error {
	if n.Kind != List {
		return fmt.Errorf("Value of property %s must be of type List", name)
	}
	list := reflect.MakeSlice(v.Type(), len(n.Items), len(n.Items))
	for i, item := range n.Items {
		if err := decode(item, list.Index(i), name); err != nil {
			return err
		}
	}
	v.Set(list)
	return nil
}

func decodeMap(n *Node, v reflect.Value, name string) error {
	if n.Kind != Map {
		return fmt.Errorf("Value of property %s must be an object", name)
	}
	m := reflect.MakeMapWithSize(v.Type(), len(n.Fields))
	for _, f := range n.Fields {
		e := reflect.New(v.Type().Elem()).Elem()
		if err := decode(f.Value, e, f.Key); err != nil {
			return err
		}
		m.SetMapIndex(reflect.ValueOf(f.Key), e)
	}
	v.Set(m)
	return nil
}

func decodeScalar(n *Node, v reflect.Value, name string) error {
	wrong := func(kind string) error {
		return fmt.Errorf("Value of property %s must be of type %s", name, kind)
	}
	switch v.Kind() {
	case reflect.String:
		if !n.IsScalar() {
			return wrong("String")
		}
		v.SetString(n.Text)
	case reflect.Bool:
		b, err := strconv.ParseBool(n.Text)
		if err != nil || !n.IsScalar() || n.Text == "1" || n.Text == "0" {
			return wrong("Boolean")
		}
		v.SetBool(b)
	case reflect.Int64:
		i, err := strconv.ParseInt(n.Text, 10, 64)
		if err != nil || !n.IsScalar() {
			return wrong("Number")
		}
		v.SetInt(i)
	case reflect.Float64:
		f, ok := number(n.Text)
		if !ok || !n.IsScalar() {
			return wrong("Number")
		}
		v.SetFloat(f)
	default:
		return wrong(v.Kind().String())
	}
	return nil
}
