# used by both
PREFIX=24
ROLE_FILE=/run/world/role-now

announce_role() {
    echo "$1" > $ROLE_FILE
    # for the log
    logger "role is $1"
}
take() { ip addr add $1/$PREFIX dev $2; }
give() { ip addr del $1/$PREFIX dev $2; }
