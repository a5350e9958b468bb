#!/bin/bash
echo -e "first\tsecond\\nthird" > /run/world/echo
echo "plain\tbackslash" >> /run/world/echo
echo -ne 'no end' >> /run/world/echo
echo -e "became\tmaster"
