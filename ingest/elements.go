package ingest

import "fmt"

// customElement is the one type that a message may hold only once.
const customElement = "TIMCustomElem"

// elements is each MsgType with its MsgContent. What a client cannot show the element without is required; clients of
// older versions leave out the rest.
var elements = map[string]shape{
	"TIMTextElem":     {{"Text", required, isText}},
	"TIMLocationElem": {{"Desc", optional, isText}, {"Latitude", required, isNumber}, {"Longitude", required, isNumber}},
	"TIMFaceElem":     {{"Index", required, isNumber}, {"Data", optional, isText}},
	customElement: {
		{"Data", optional, isText}, {"Desc", optional, isText}, {"Ext", optional, isText}, {"Sound", optional, isText},
	},
	"TIMSoundElem": {
		{"Url", optional, isText}, {"UUID", optional, isText}, {"Size", optional, isNumber}, {"Second", optional, isNumber},
		{"Download_Flag", optional, isFrom(2, 2)},
	},
	"TIMImageElem": {
		{"UUID", required, isText}, {"ImageFormat", optional, isNumber},
		{"ImageInfoArray", required, isSome(shape{
			{"Type", required, isFrom(1, 3)}, {"Size", optional, isNumber}, {"Width", optional, isNumber},
			{"Height", optional, isNumber}, {"URL", required, isText},
		})},
	},
	"TIMFileElem": {
		{"Url", optional, isText}, {"UUID", optional, isText}, {"FileSize", optional, isNumber}, {"FileName", optional, isText},
		{"Download_Flag", optional, isFrom(2, 2)},
	},
	"TIMVideoFileElem": {
		{"VideoUrl", optional, isText}, {"VideoUUID", optional, isText}, {"VideoSize", optional, isNumber},
		{"VideoSecond", optional, isNumber}, {"VideoFormat", optional, isText}, {"VideoDownloadFlag", optional, isFrom(2, 2)},
		{"ThumbUrl", optional, isText}, {"ThumbUUID", optional, isText}, {"ThumbSize", optional, isNumber},
		{"ThumbWidth", optional, isNumber}, {"ThumbHeight", optional, isNumber}, {"ThumbFormat", optional, isText},
		{"ThumbDownloadFlag", optional, isFrom(2, 2)},
	},
}

// checkElements says what is wrong with the elements of a MsgBody, nil for nothing.
func checkElements(items []value) error {
	custom := false
	for _, item := range items {
		o, err := item.object()
		if err != nil {
			return err
		}
		kind := o.get("MsgType")
		name, err := kind.text()
		if err != nil {
			return err
		}
		content, known := elements[name]
		if !known {
			return &fieldError{kind.path, fmt.Sprintf("there is no type %q", name)}
		}
		if name == customElement && custom {
			return &fieldError{item.path, "a message has one " + customElement + " at most"}
		}
		custom = custom || name == customElement
		if err := content.check(o.get("MsgContent")); err != nil {
			return err
		}
	}
	return nil
}
