package ingest

import (
	"encoding/json"
	"fmt"
)

// offlineInfo is OfflinePushInfo.
var offlineInfo = shape{
	{"PushFlag", optional, isFrom(0, 1)}, {"Title", optional, isText}, {"Desc", optional, isText}, {"Ext", optional, isText},
	{"AndroidInfo", optional, shape{
		{"Sound", optional, isText}, {"HuaWeiChannelID", optional, isText}, {"XiaoMiChannelID", optional, isText},
		{"OPPOChannelID", optional, isText}, {"GoogleChannelID", optional, isText}, {"VIVOClassification", optional, isNumber},
		{"HuaWeiImportance", optional, isText}, {"HuaWeiCategory", optional, isText},
		{"ExtAsHuaweiIntentParam", optional, isNumber},
	}.check},
	{"ApnsInfo", optional, shape{
		{"Sound", optional, isText}, {"BadgeMode", optional, isNumber}, {"Title", optional, isText},
		{"SubTitle", optional, isText}, {"Image", optional, isText}, {"MutableContent", optional, isNumber},
	}.check},
}

// readOfflineInfo checks OfflinePushInfo and gives it as it was sent, nil when it is absent.
func readOfflineInfo(v value) (json.RawMessage, error) {
	if v.absent() {
		return nil, nil
	}
	if len(v.raw) > maxOfflineInfo {
		return nil, refuse(codeTooLong, fmt.Sprintf("%s: %d bytes, at most %d are allowed", v.path, len(v.raw), maxOfflineInfo))
	}
	if err := offlineInfo.check(v); err != nil {
		return nil, refuse(codeOfflineInfo, err.Error())
	}
	return v.raw, nil
}
