//! The numbers of the kernel's netlink interfaces that are used here (include/uapi/linux).

/// netlink.h
pub(crate) mod netlink {
    pub(crate) const ERROR: u16 = 2;
    pub(crate) const DONE: u16 = 3;
    pub(crate) const REQUEST: u16 = 0x1;
    pub(crate) const ACK: u16 = 0x4;
    pub(crate) const REPLACE: u16 = 0x100;
    pub(crate) const EXCLUSIVE: u16 = 0x200;
    pub(crate) const DUMP: u16 = 0x300;
    pub(crate) const CREATE: u16 = 0x400;
    pub(crate) const NESTED: u16 = 0x8000;
    pub(crate) const TYPE_MASK: u16 = 0x3fff;
}

/// rtnetlink.h, if_link.h, if_addr.h, neighbour.h
pub(crate) mod route {
    pub(crate) const NEWLINK: u16 = 16;
    pub(crate) const DELLINK: u16 = 17;
    pub(crate) const GETLINK: u16 = 18;
    pub(crate) const SETLINK: u16 = 19;
    pub(crate) const NEWADDR: u16 = 20;
    pub(crate) const DELADDR: u16 = 21;
    pub(crate) const GETADDR: u16 = 22;
    pub(crate) const NEWROUTE: u16 = 24;
    pub(crate) const DELROUTE: u16 = 25;
    pub(crate) const GETROUTE: u16 = 26;
    pub(crate) const NEWNEIGH: u16 = 28;
    pub(crate) const NEWQDISC: u16 = 36;

    pub(crate) const IFF_UP: u32 = 0x1;
    pub(crate) const IFF_NOARP: u32 = 0x80;

    pub(crate) const IFLA_ADDRESS: u16 = 1;
    pub(crate) const IFLA_IFNAME: u16 = 3;
    pub(crate) const IFLA_MTU: u16 = 4;
    pub(crate) const IFLA_LINK: u16 = 5;
    pub(crate) const IFLA_MASTER: u16 = 10;
    pub(crate) const IFLA_PROTINFO: u16 = 12;
    pub(crate) const IFLA_LINKINFO: u16 = 18;
    pub(crate) const IFLA_IFALIAS: u16 = 20;
    pub(crate) const IFLA_GROUP: u16 = 27;
    pub(crate) const IFLA_NET_NS_FD: u16 = 28;
    pub(crate) const IFLA_EXT_MASK: u16 = 29;
    pub(crate) const IFLA_NUM_TX_QUEUES: u16 = 31;
    pub(crate) const IFLA_NUM_RX_QUEUES: u16 = 32;
    pub(crate) const IFLA_INFO_KIND: u16 = 1;
    pub(crate) const IFLA_INFO_DATA: u16 = 2;
    pub(crate) const VETH_INFO_PEER: u16 = 1;
    pub(crate) const IFLA_MACVLAN_MODE: u16 = 1;
    pub(crate) const IFLA_IPVLAN_MODE: u16 = 1;
    pub(crate) const IFLA_VLAN_ID: u16 = 1;
    pub(crate) const IFLA_BRPORT_LEARNING: u16 = 8;
    pub(crate) const IFLA_BRPORT_LOCKED: u16 = 39;
    /// RTEXT_FILTER_SKIP_STATS
    pub(crate) const SKIP_STATS: u32 = 8;

    pub(crate) const IFA_ADDRESS: u16 = 1;
    pub(crate) const IFA_LOCAL: u16 = 2;
    pub(crate) const IFA_CACHEINFO: u16 = 6;
    pub(crate) const IFA_FLAGS: u16 = 8;
    pub(crate) const IFA_F_NODAD: u32 = 0x2;
    pub(crate) const IFA_F_NOPREFIXROUTE: u32 = 0x200;

    pub(crate) const RTA_DST: u16 = 1;
    pub(crate) const RTA_OIF: u16 = 4;
    pub(crate) const RTA_GATEWAY: u16 = 5;
    pub(crate) const RTA_PRIORITY: u16 = 6;
    pub(crate) const RTA_PREFSRC: u16 = 7;
    pub(crate) const RT_TABLE_MAIN: u8 = 254;
    /// The owner of a route: it was made by hand, in the eyes of routing daemons.
    pub(crate) const RTPROT_STATIC: u8 = 4;
    pub(crate) const RT_SCOPE_UNIVERSE: u8 = 0;
    pub(crate) const RT_SCOPE_LINK: u8 = 253;
    pub(crate) const RT_SCOPE_NOWHERE: u8 = 255;
    pub(crate) const RT_SCOPE_HOST: u8 = 254;
    pub(crate) const RT_TABLE_LOCAL: u8 = 255;
    pub(crate) const RTN_UNICAST: u8 = 1;
    pub(crate) const RTN_LOCAL: u8 = 2;
    pub(crate) const RTNH_F_ONLINK: u32 = 4;
    pub(crate) const RTM_F_FIB_MATCH: u32 = 0x2000;

    pub(crate) const NDA_DST: u16 = 1;
    pub(crate) const NDA_LLADDR: u16 = 2;
    pub(crate) const NUD_PERMANENT: u16 = 0x80;
    pub(crate) const NTF_MASTER: u8 = 0x4;

    pub(crate) const TCA_KIND: u16 = 1;
    pub(crate) const TCA_OPTIONS: u16 = 2;
    pub(crate) const TCA_TBF_PARMS: u16 = 1;
    pub(crate) const TCA_TBF_RATE64: u16 = 4;
    pub(crate) const TCA_TBF_BURST: u16 = 6;
    pub(crate) const TC_H_ROOT: u32 = 0xffff_ffff;
}

/// nfnetlink.h, nf_tables.h
pub(crate) mod filter {
    pub(crate) const BATCH_BEGIN: u16 = 16;
    pub(crate) const BATCH_END: u16 = 17;
    pub(crate) const SUBSYSTEM: u16 = 10 << 8;
    pub(crate) const NFPROTO_UNSPEC: u8 = 0;
    pub(crate) const NFPROTO_INET: u8 = 1;
    pub(crate) const NFPROTO_IPV4: u8 = 2;
    pub(crate) const NFPROTO_BRIDGE: u8 = 7;
    pub(crate) const NFPROTO_IPV6: u8 = 10;

    pub(crate) const NEWCHAIN: u16 = SUBSYSTEM | 3;
    pub(crate) const GETCHAIN: u16 = SUBSYSTEM | 4;
    pub(crate) const NEWSETELEM: u16 = SUBSYSTEM | 12;
    pub(crate) const GETSETELEM: u16 = SUBSYSTEM | 13;
    pub(crate) const DELSETELEM: u16 = SUBSYSTEM | 14;
    pub(crate) const NEWOBJ: u16 = SUBSYSTEM | 18;
    pub(crate) const DELOBJ: u16 = SUBSYSTEM | 20;
    /// From Linux 6.3 on: what is not there is no failure.
    pub(crate) const DESTROYSETELEM: u16 = SUBSYSTEM | 30;
    pub(crate) const DESTROYOBJ: u16 = SUBSYSTEM | 31;

    pub(crate) const NFTA_CHAIN_TABLE: u16 = 1;
    pub(crate) const NFTA_CHAIN_NAME: u16 = 3;
    pub(crate) const NFTA_CHAIN_HOOK: u16 = 4;
    pub(crate) const NFTA_CHAIN_POLICY: u16 = 5;
    pub(crate) const NFTA_CHAIN_USE: u16 = 6;
    pub(crate) const NFTA_HOOK_HOOKNUM: u16 = 1;
    pub(crate) const NF_INET_LOCAL_IN: u32 = 1;
    pub(crate) const NF_INET_FORWARD: u32 = 2;
    pub(crate) const NF_DROP: u32 = 0;

    pub(crate) const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
    pub(crate) const NFTA_SET_ELEM_LIST_SET: u16 = 2;
    pub(crate) const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
    pub(crate) const NFTA_LIST_ELEM: u16 = 1;
    pub(crate) const NFTA_SET_ELEM_KEY: u16 = 1;
    pub(crate) const NFTA_SET_ELEM_DATA: u16 = 2;
    pub(crate) const NFTA_SET_ELEM_FLAGS: u16 = 3;
    pub(crate) const NFTA_SET_ELEM_OBJREF: u16 = 9;
    pub(crate) const NFTA_SET_ELEM_KEY_END: u16 = 10;
    pub(crate) const NFTA_DATA_VALUE: u16 = 1;
    pub(crate) const INTERVAL_END: u32 = 1;

    pub(crate) const NFTA_OBJ_TABLE: u16 = 1;
    pub(crate) const NFTA_OBJ_NAME: u16 = 2;
    pub(crate) const NFTA_OBJ_TYPE: u16 = 3;
    pub(crate) const NFTA_OBJ_DATA: u16 = 4;
    pub(crate) const NFT_OBJECT_LIMIT: u32 = 4;
    pub(crate) const NFTA_LIMIT_RATE: u16 = 1;
    pub(crate) const NFTA_LIMIT_UNIT: u16 = 2;
    pub(crate) const NFTA_LIMIT_BURST: u16 = 3;
    pub(crate) const NFTA_LIMIT_TYPE: u16 = 4;
    pub(crate) const NFTA_LIMIT_FLAGS: u16 = 5;
}

/// nfnetlink_conntrack.h
pub(crate) mod connection {
    const SUBSYSTEM: u16 = 1 << 8;
    pub(crate) const DELETE: u16 = SUBSYSTEM | 2;
    pub(crate) const GETSTATS: u16 = SUBSYSTEM | 5;

    pub(crate) const CTA_TUPLE_ORIG: u16 = 1;
    pub(crate) const CTA_TUPLE_REPLY: u16 = 2;
    /// For what is deleted only newer kernels know it (6.18 does); others refuse a message with it that has no protocol.
    pub(crate) const CTA_FILTER: u16 = 25;
    pub(crate) const CTA_FILTER_ORIG_FLAGS: u16 = 1;
    pub(crate) const CTA_FILTER_REPLY_FLAGS: u16 = 2;
    /// nf_internals.h, CTA_FILTER_F_CTA_IP_SRC
    pub(crate) const BY_SOURCE: u32 = 1;
    pub(crate) const CTA_TUPLE_IP: u16 = 1;
    pub(crate) const CTA_IP_V4_SRC: u16 = 1;
    pub(crate) const CTA_IP_V6_SRC: u16 = 3;
    pub(crate) const CTA_STATS_GLOBAL_ENTRIES: u16 = 1;
}
