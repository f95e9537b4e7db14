/* The network of a container: a pair of links, addresses, routes, permanent neighbours, one element of nftables.
 *
 * Whoever measures has made the other half: a device `floor-gw` with the gateway's addresses 10.77.0.1/16 and
 * fd77::1/64, and a table `inet floor` with a map `published`. Everything of one side goes to the kernel at once. */
#include "floor.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <stdint.h>
#include <sys/socket.h>

int setns(int fd, int type);

/* Requests one behind the other; how many answers they will have. */
struct batch {
    char bytes[4096];
    size_t length, begin;
    unsigned answers;
};

static void put(struct batch *batch, const void *bytes, size_t length) {
    memcpy(batch->bytes + batch->length, bytes, length);
    memset(batch->bytes + batch->length + length, 0, NLMSG_ALIGN(length) - length);
    batch->length += NLMSG_ALIGN(length);
}

static void begin(struct batch *batch, int type, int flags, const void *head, size_t length) {
    struct nlmsghdr header = {.nlmsg_type = (uint16_t)type, .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags)};
    batch->begin = batch->length;
    batch->answers += (flags & NLM_F_ACK) != 0;
    put(batch, &header, sizeof header);
    put(batch, head, length);
}

static void end(struct batch *batch) {
    ((struct nlmsghdr *)(void *)(batch->bytes + batch->begin))->nlmsg_len = (uint32_t)(batch->length - batch->begin);
}

static void attribute(struct batch *batch, int type, const void *bytes, size_t length) {
    struct nlattr head = {.nla_len = (uint16_t)(sizeof head + length), .nla_type = (uint16_t)type};
    put(batch, &head, sizeof head);
    put(batch, bytes, length);
}

/* An attribute that holds others; its length is known when it is closed. */
static size_t open_nest(struct batch *batch, int type) {
    size_t at = batch->length;
    attribute(batch, type | NLA_F_NESTED, NULL, 0);
    return at;
}

static void close_nest(struct batch *batch, size_t at) {
    ((struct nlattr *)(void *)(batch->bytes + at))->nla_len = (uint16_t)(batch->length - at);
}

static void call(int socket, struct batch *batch, const char *what) {
    char answer[8192];
    must((int)send(socket, batch->bytes, batch->length, 0), what);
    while (batch->answers > 0) {
        ssize_t length = recv(socket, answer, sizeof answer, 0);
        must((int)length, what);
        for (struct nlmsghdr *one = (void *)answer; NLMSG_OK(one, length); one = NLMSG_NEXT(one, length)) {
            if (one->nlmsg_type != NLMSG_ERROR) continue;
            errno = -((struct nlmsgerr *)NLMSG_DATA(one))->error;
            if (errno) die(what);
            batch->answers--;
        }
    }
}

/* Both families' addresses of a number: 10.77.x.y and fd77::xy. */
struct ends { uint8_t v4[4], v6[16]; };

static struct ends ends(unsigned number) {
    struct ends found = {.v4 = {10, 77, (uint8_t)(number >> 8), (uint8_t)number}, .v6 = {0xfd, 0x77}};
    memcpy(found.v6 + 14, found.v4 + 2, 2);
    return found;
}

static const void *of(const struct ends *ends, int family) { return family == AF_INET ? ends->v4 : ends->v6; }
static size_t length_of(int family) { return family == AF_INET ? 4 : 16; }

enum { MAKE = NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, INNER = 2 };
static const int FAMILIES[] = {AF_INET, AF_INET6};
static const uint8_t MACS[2][6] = {{2, 0x77, 0, 0, 0, 1}, {2, 0x77, 0, 0, 0, 2}};

static void link_pair(struct batch *batch, int outer, int child) {
    struct ifinfomsg head = {.ifi_index = outer, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    uint32_t queues = 1;
    char name[16];
    begin(batch, RTM_NEWLINK, MAKE, &head, sizeof head);
    attribute(batch, IFLA_IFNAME, name, (size_t)snprintf(name, sizeof name, "w%d", outer) + 1);
    attribute(batch, IFLA_ADDRESS, MACS[0], 6);
    attribute(batch, IFLA_NUM_TX_QUEUES, &queues, 4);
    attribute(batch, IFLA_NUM_RX_QUEUES, &queues, 4);
    size_t info = open_nest(batch, IFLA_LINKINFO);
    attribute(batch, IFLA_INFO_KIND, "veth", 5);
    size_t data = open_nest(batch, IFLA_INFO_DATA), peer = open_nest(batch, VETH_INFO_PEER);
    /* Not up yet: the inner end is made before it has another. */
    head = (struct ifinfomsg){.ifi_index = INNER};
    put(batch, &head, sizeof head);
    attribute(batch, IFLA_IFNAME, "eth0", 5);
    attribute(batch, IFLA_ADDRESS, MACS[1], 6);
    attribute(batch, IFLA_NUM_TX_QUEUES, &queues, 4);
    attribute(batch, IFLA_NUM_RX_QUEUES, &queues, 4);
    attribute(batch, IFLA_NET_NS_PID, &child, 4);
    close_nest(batch, peer);
    close_nest(batch, data);
    close_nest(batch, info);
    end(batch);
}

static void up(struct batch *batch, int index) {
    struct ifinfomsg head = {.ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    begin(batch, RTM_NEWLINK, NLM_F_ACK, &head, sizeof head);
    end(batch);
}

static void address(struct batch *batch, int family, const struct ends *own) {
    struct ifaddrmsg head = {
        .ifa_family = (uint8_t)family, .ifa_prefixlen = family == AF_INET ? 16 : 64, .ifa_index = INNER};
    uint32_t flags = IFA_F_NODAD | IFA_F_NOPREFIXROUTE;
    begin(batch, RTM_NEWADDR, MAKE, &head, sizeof head);
    attribute(batch, IFA_LOCAL, of(own, family), length_of(family));
    attribute(batch, IFA_ADDRESS, of(own, family), length_of(family));
    attribute(batch, IFA_FLAGS, &flags, 4);
    end(batch);
}

/* To one address as the gateway, or to everything by the gateway. */
static void route(struct batch *batch, int family, int index, const struct ends *to, const struct ends *gateway) {
    size_t length = length_of(family);
    struct rtmsg head = {
        .rtm_family = (uint8_t)family, .rtm_dst_len = to ? (uint8_t)(8 * length) : 0, .rtm_table = RT_TABLE_MAIN,
        .rtm_protocol = RTPROT_STATIC, .rtm_type = RTN_UNICAST, .rtm_scope = to ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE,
        .rtm_flags = to ? 0 : RTNH_F_ONLINK};
    begin(batch, RTM_NEWROUTE, MAKE, &head, sizeof head);
    if (to) attribute(batch, RTA_DST, of(to, family), length);
    attribute(batch, to ? RTA_PREFSRC : RTA_GATEWAY, of(gateway, family), length);
    attribute(batch, RTA_OIF, &index, 4);
    end(batch);
}

static void neighbour(struct batch *batch, int family, int index, const struct ends *whose, const uint8_t mac[6]) {
    struct ndmsg head = {.ndm_family = (uint8_t)family, .ndm_ifindex = index, .ndm_state = NUD_PERMANENT};
    begin(batch, RTM_NEWNEIGH, MAKE, &head, sizeof head);
    attribute(batch, NDA_DST, of(whose, family), length_of(family));
    attribute(batch, NDA_LLADDR, mac, 6);
    end(batch);
}

static void inside(int socket, const struct ends *own, const struct ends *gateway) {
    struct batch batch = {0};
    up(&batch, 1);
    up(&batch, INNER);
    for (int i = 0; i < 2; i++) {
        address(&batch, FAMILIES[i], own);
        neighbour(&batch, FAMILIES[i], INNER, gateway, MACS[0]);
        route(&batch, FAMILIES[i], INNER, NULL, gateway);
    }
    call(socket, &batch, "inside");
}

static void outside(int socket, int outer, const struct ends *own, const struct ends *gateway, int child) {
    struct batch batch = {0};
    link_pair(&batch, outer, child);
    for (int i = 0; i < 2; i++) {
        route(&batch, FAMILIES[i], outer, own, gateway);
        neighbour(&batch, FAMILIES[i], outer, own, MACS[1]);
    }
    call(socket, &batch, "outside");
}

/* `tcp . PORT : ADDRESS . 80`, every part of four bytes. */
static void element(int type, const struct ends *own) {
    const struct nfgenmsg head = {.nfgen_family = NFPROTO_INET}, edge = {.res_id = htons(NFNL_SUBSYS_NFTABLES)};
    uint8_t key[8] = {IPPROTO_TCP, 0, 0, 0, own->v4[2] | 0x80, own->v4[3]}, value[8] = {0};
    memcpy(value, own->v4, 4);
    value[5] = 80;
    struct batch batch = {0};
    begin(&batch, NFNL_MSG_BATCH_BEGIN, 0, &edge, sizeof edge);
    end(&batch);
    begin(&batch, NFNL_SUBSYS_NFTABLES << 8 | type, NLM_F_CREATE | NLM_F_ACK, &head, sizeof head);
    attribute(&batch, NFTA_SET_ELEM_LIST_TABLE, "floor", 6);
    attribute(&batch, NFTA_SET_ELEM_LIST_SET, "published", 10);
    size_t list = open_nest(&batch, NFTA_SET_ELEM_LIST_ELEMENTS), one = open_nest(&batch, NFTA_LIST_ELEM);
    size_t part = open_nest(&batch, NFTA_SET_ELEM_KEY);
    attribute(&batch, NFTA_DATA_VALUE, key, sizeof key);
    close_nest(&batch, part);
    part = open_nest(&batch, NFTA_SET_ELEM_DATA);
    attribute(&batch, NFTA_DATA_VALUE, value, sizeof value);
    close_nest(&batch, part);
    close_nest(&batch, one);
    close_nest(&batch, list);
    end(&batch);
    begin(&batch, NFNL_MSG_BATCH_END, 0, &edge, sizeof edge);
    end(&batch);
    int filter = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
    must(filter, "netfilter");
    call(filter, &batch, "element");
    close(filter);
}

static struct ends own_of(pid_t child) { return ends(2 + (unsigned)child % 0x7ff0); }

static int routing(void) {
    int found = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    must(found, "rtnetlink");
    return found;
}

/* A socket stays in the namespace that it was opened in. */
static int routing_inside(pid_t child) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/ns/net", (int)child);
    int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), there = open(path, O_RDONLY | O_CLOEXEC);
    must(there, path);
    must(setns(there, 0), "setns");
    int found = routing();
    must(setns(own, 0), "setns");
    close(own);
    close(there);
    return found;
}

void wire_make(pid_t child) {
    const struct ends own = own_of(child), gateway = ends(1);
    int here = routing(), there = routing_inside(child);
    /* Its number is ours to choose, so that everything can be said at once. */
    outside(here, 1000000 + (int)child, &own, &gateway, (int)child);
    inside(there, &own, &gateway);
    element(NFT_MSG_NEWSETELEM, &own);
    close(here);
    close(there);
}

void wire_remove(pid_t child) {
    const struct ends own = own_of(child);
    element(NFT_MSG_DELSETELEM, &own);
}
